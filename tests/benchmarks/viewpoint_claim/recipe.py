"""What a row of the table is made of: the product's own settings, and what each batch shows."""

from dataclasses import dataclass
from typing import Literal

from training.config import AnchorsConfig, LossConfig, OptimiserConfig, ViformerConfig
from training.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row."""

    loss: LossConfig
    optimiser: OptimiserConfig
    anchors: AnchorsConfig
    image: Tuning = "full"
    text: Tuning = "frozen"
    rank: int = 8
    viformer: ViformerConfig | None = None
    captioned: int | None = None
    """Views of each object that have captions; all where None."""
    captioned_odd: bool = False
    """Whether these are odd ones instead of frontal ones."""
    replay: Literal["seen", "all"] = "seen"
    """Frontal views of the pre-training objects of categories that tuning sees, or of all."""
    replayed: int = 32
    """Of these in each batch."""
    objects: int = 8
    """Tuning objects in each batch."""
    views: int = 4
    """Captioned views of each of them, or as many as there are."""
    uncaptioned_views: int = 4
    """Further views of each of them, where some have no captions and a term of the loss looks at them."""
