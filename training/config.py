"""The configuration of a training run: typed and strict, as that of a build.

What is measured of each switch, and where the recipes differ, stands in `training/recipes/`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, field_validator, model_validator

from mvcap.config import OPERATIONAL, UNNAMED, Section
from training.anchors import AnchorWeights
from training.losses import Hinge
from training.pictures.decoding import Crop
from training.tuning import Tuning
from training.viformer import Attend, Blend

Pulled = Literal["outliers", "uncaptioned", "all"]
"""Which views a term is about: those farthest from their anchor, those without a caption, or every one."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Section):
    """Which pretrained model: a file of `training/backends/` and its options."""

    backend: str = "open_clip"
    options: dict[str, Any] | SerializeAsAny[BaseModel] = Field(default_factory=dict)


class TuneConfig(Section):
    """What of it is trained."""

    image: Tuning = "lora"
    text: Tuning = "frozen"
    rank: int = Field(8, ge=1)
    alpha: float = Field(8.0, gt=0)
    temperature: float | None = Field(None, gt=0)
    """Inverse temperature to begin with; the pretrained model's own, about 100, where null. The official code
    begins anew at 14.3."""


class ViformerConfig(Section):
    """The transformer behind the image encoder."""

    alpha: float = Field(0.1, ge=0, le=1)
    blend: Blend = "convex"
    attend: Attend = "self"
    zero_start: bool = True


class DataConfig(Section):
    """How multi-view pictures become batches."""

    batch: int = Field(512, ge=2)
    """Views in a batch, of all processes together."""
    views_per_object: int = Field(4, ge=1)
    """Of an object, one after the other; all it has where it has fewer."""
    lookalikes: bool = True
    """Keep training objects that look like another one of training; those that look like one of another split
    are always left out."""
    crop: Crop = "resized"
    """`resized`: a random part of a picture, brought to the model's size. `window`: a window of that size in
    the picture at 8/7 of it; with `small_copies_px` of that, 256 for 224, nothing is resampled, which decodes
    two to three times as fast."""
    smallest_crop: float = Field(0.6, gt=0, le=1)
    """Share of the picture that a resized crop keeps at least; 1 leaves pictures whole."""
    rotation_deg: float = Field(0.0, ge=0, le=180)
    """Random turns to either side."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Random shifts, as a share of the picture's size."""
    small_copies_px: int | None = Field(None, ge=32)
    """Make JPEG copies of this size first, and read those: several times as fast. A crop of them is a little
    less sharp."""


class CleanConfig(Section):
    """Pictures of the original distribution, mixed into every batch; off where `path` is null."""

    path: str | None = None
    """A dataset of ours, webdataset tars, or a folder for each class."""
    names: str | None = None
    """A file of class names, for the last two."""
    caption: str = "a photo of a {}."
    """For the last two; a dataset has its own captions."""
    batch: int = Field(256, ge=1)
    """Pictures in each batch, of all processes together."""

    @field_validator("caption")
    @classmethod
    def _check_caption(cls, caption: str) -> str:
        before, found, behind = caption.partition("{}")
        if not found or {*"{}"} & {*before, *behind}:
            raise ValueError("a sentence with {} for the class's name, once, and no other braces")
        return caption


class AnchorsConfig(Section):
    """Where anchors and outliers come from."""

    source: Literal["full", "bank", "batch"] = "full"
    """`full`: every view is encoded anew before each epoch. `bank`: once; then a view's features are those of
    the last batch that it was in, augmented as there. `batch`: the views of an object in the batch alone, at
    every step."""
    every_steps: int | None = Field(None, ge=1)
    """How often anchors are made anew; before each epoch where null."""
    weights: AnchorWeights = "paper"
    outliers_per_object: int = Field(5, ge=1)
    """The K farthest views. The official code's is 5; the paper does not tell its own."""
    of: Literal["all", "captioned"] = "all"
    """The views that anchors are made of."""
    augmented: bool = False
    """Whether views are augmented for it, as in the official code."""
    shuffled: bool = False
    """Give objects each other's anchors: a control. What then still gains, gains from something else."""


class TermConfig(Section):
    """A further term of the loss; its weight is the paper's lambda for the first of them."""

    weight: float = Field(0.0, ge=0)


class ConsistencyConfig(TermConfig):
    """Pull views towards their anchor."""

    weight: float = Field(1.0, ge=0)
    margin: float = Field(0.3, ge=0, le=2)
    hinge: Hinge = "closing"
    views: Pulled = "outliers"


class ContrastConfig(TermConfig):
    """Tell a view's anchor from those of other objects in the batch."""

    scale: float = Field(16.0, gt=0)
    views: Pulled = "uncaptioned"


class AgreementConfig(TermConfig):
    """Choose among the batch's captions as the anchor does."""

    scale: float = Field(16.0, gt=0)
    views: Pulled = "uncaptioned"


class FloorConfig(TermConfig):
    """Keep features spread out."""

    floor: float = Field(0.8, gt=0)


class DistillationConfig(TermConfig):
    """Stay near the pretrained model's features."""

    pictures: Literal["clean", "all"] = "clean"


class LossConfig(Section):
    """What is minimised: the contrast of images with texts, and the terms with a weight."""

    multi_positive: bool = True
    """Equal captions, and views of one object, are no negatives."""
    consistency: ConsistencyConfig = ConsistencyConfig()
    anchor_contrast: ContrastConfig = ContrastConfig()
    caption_agreement: AgreementConfig = AgreementConfig()
    variance_floor: FloorConfig = FloorConfig()
    distillation: DistillationConfig = DistillationConfig()

    @property
    def wants_anchors(self) -> bool:
        """Whether any term needs anchors."""
        return any(term.weight for term in (self.consistency, self.anchor_contrast, self.caption_agreement))


class OptimiserConfig(Section):
    """AdamW, with the official code's figures."""

    steps: int = Field(35_000, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    eps: float = Field(1e-6, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    decay_everything: bool = False
    """Decay norms, biases and the temperature too, as the official code does."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    warmup_steps: int = Field(500, ge=0)
    schedule_steps: int | None = Field(None, ge=1)
    """Length of the cosine; `steps` where null. The official code's is 30 epochs long, of which it runs 1 to
    4."""


class RunConfig(Section):
    """How a run uses the machine; nothing here is meant to change what is learnt, but for rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the encoders' arithmetic; `auto` is bfloat16 on a GPU that has it. Losses are always float32."""
    tf32: bool = True
    """On GPUs, for what is float32."""
    micro_batch: int | None = Field(None, ge=1)
    """Pictures encoded at once by a process; all of its part where null. The contrast is over the whole batch
    whatever it is: features are computed twice."""
    checkpoint_activations: bool = False
    """Less memory, a third more time."""
    compile: str | None = None
    """A backend of torch.compile, such as inductor."""
    loaders: int = Field(2, ge=0)
    """Processes that read and decode pictures, for each training process; 0 does it in between."""
    log_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    checkpoints: int = Field(2, ge=1)
    """How many of the latest are kept."""
    tensorboard: bool = True
    wandb: bool = False


class TrainingConfig(Section):
    """A whole recipe."""

    name: str = UNNAMED
    seed: int = Field(0, ge=0, lt=2**63)
    model: ModelConfig = ModelConfig()
    tune: TuneConfig = TuneConfig()
    viformer: ViformerConfig | None = ViformerConfig()
    data: DataConfig = DataConfig()
    clean: CleanConfig = CleanConfig()
    anchors: AnchorsConfig = AnchorsConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    run: Annotated[RunConfig, OPERATIONAL] = RunConfig()

    @model_validator(mode="after")
    def _check_views(self) -> "TrainingConfig":
        terms: dict[str, ConsistencyConfig | ContrastConfig | AgreementConfig] = {
            "consistency": self.loss.consistency,
            "anchor_contrast": self.loss.anchor_contrast,
            "caption_agreement": self.loss.caption_agreement,
        }
        for name, term in terms.items():
            if term.weight and term.views == "uncaptioned" and self.anchors.of == "all":
                raise ValueError(
                    f"loss.{name}.views=uncaptioned wants anchors.of=captioned: an anchor that is made of "
                    "the views it pulls holds them where they are"
                )
        return self
