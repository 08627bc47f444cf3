"""The small CLIP as the product holds, tunes and interpolates a model."""

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from open_clip.transform import PreprocessCfg

from training.assembling import make_student
from training.backends.open_clip import UNTRAINED, OpenClip, Options
from training.config import TrainingConfig, TuneConfig
from training.student import Student
from viewpoint_claim.augment import LEVEL_SPREAD, WHITE_LEVEL
from viewpoint_claim.pictures import RESOLUTION
from viewpoint_claim.recipe import Recipe
from viewpoint_claim.tiny_clip import EMBEDDING
from viewpoint_claim.wording import Tokenizer


def untuned(network: Any, tokenizer: Tokenizer) -> Student:
    """Put the product's student around a network, which it shares."""
    return Student(_encoder(network, tokenizer), None).eval()


def to_be_tuned(network: Any, tokenizer: Tokenizer, recipe: Recipe, *, seed: int) -> Student:
    """Make what a recipe trains of a copy of a network."""
    config = TrainingConfig(
        seed=seed,
        tune=TuneConfig(image=recipe.image, text=recipe.text, rank=recipe.rank, alpha=recipe.rank),
        viformer=recipe.viformer,
    )
    return make_student(_encoder(deepcopy(network), tokenizer), config)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model beside the one it came from."""

    student: Student
    """With stock keys: LoRA is merged."""
    base: Any
    """Its network before."""

    def at(self, share: float) -> Student:
        """Return the model with weights at `share` of the way from the base to the tuned ones.

        As `training.finished.open_tuned` does it.
        """
        between = deepcopy(self.student).eval()
        before = self.base.state_dict()
        after = between.network.state_dict()
        between.network.load_state_dict(
            {name: torch.lerp(before[name], after[name], share) for name in before}
        )
        if between.viformer is not None:
            between.viformer.alpha *= share
        return between


def _encoder(network: Any, tokenizer: Tokenizer) -> OpenClip:
    levels = {"mean": (WHITE_LEVEL,) * 3, "std": (LEVEL_SPREAD,) * 3}
    network.visual.preprocess_cfg = asdict(PreprocessCfg(size=RESOLUTION, **levels))
    return OpenClip(network, tokenizer, {"embed_dim": EMBEDDING}, Options(model=UNTRAINED, pretrained=None))
