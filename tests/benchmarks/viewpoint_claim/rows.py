"""The rows of both tables, in order, and what was chosen for them: on validation objects alone."""

from dataclasses import dataclass, replace
from typing import Any, Final

from training.config import (
    AgreementConfig,
    AnchorsConfig,
    ConsistencyConfig,
    ContrastConfig,
    DistillationConfig,
    FloorConfig,
    LossConfig,
    OptimiserConfig,
    ViformerConfig,
)
from viewpoint_claim.recipe import Recipe

STEPS: Final = 100
REFRESHED: Final = 25
"""Steps between looks at all views, where anchors are made of all."""
FEW: Final = 3
"""Captioned views where not all are, as in the trial."""

OPTIMISER: Final = OptimiserConfig(steps=STEPS, learning_rate=5e-4, warmup_steps=10)
LORA_OPTIMISER: Final = OptimiserConfig(steps=STEPS, learning_rate=2e-3, warmup_steps=10)
NOTHING: Final = ConsistencyConfig(weight=0)
OF_ALL: Final = AnchorsConfig(every_steps=REFRESHED)
OF_CAPTIONED: Final = AnchorsConfig(every_steps=REFRESHED, of="captioned")
BANKED: Final = AnchorsConfig(every_steps=REFRESHED, source="bank")
BANKED_CAPTIONED: Final = AnchorsConfig(every_steps=REFRESHED, source="bank", of="captioned")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    name: str
    recipe: Recipe


def with_loss(recipe: Recipe, **terms: Any) -> Recipe:
    """Return a recipe with other terms of the loss."""
    return replace(recipe, loss=recipe.loss.model_copy(update=terms))


def with_viformer(recipe: Recipe, **settings: Any) -> Recipe:
    """Return a recipe whose VIFormer is set otherwise."""
    assert recipe.viformer is not None
    return replace(recipe, viformer=recipe.viformer.model_copy(update=settings))


def with_batch_anchors(recipe: Recipe, *, shuffled: bool = False, **terms: Any) -> Recipe:
    """Return a recipe with further terms that pull towards anchors of a batch's captioned views."""
    anchors = AnchorsConfig(source="batch", of="captioned", shuffled=shuffled)
    return replace(with_loss(recipe, **terms), anchors=anchors)


ITC: Final = Recipe(loss=LossConfig(consistency=NOTHING), optimiser=OPTIMISER, anchors=OF_ALL)
"""Multi-positive: among few categories most captions of a batch have an equal."""
PAPER: Final = Recipe(
    loss=LossConfig(multi_positive=False, consistency=ConsistencyConfig(hinge="open")),
    optimiser=LORA_OPTIMISER.model_copy(update={"decay_everything": True}),
    anchors=OF_ALL,
    image="lora",
    viformer=ViformerConfig(zero_start=False),
)
FEW_ITC: Final = replace(ITC, captioned=FEW)
CONTRAST: Final = ContrastConfig(weight=0.3)
AGREEMENT: Final = AgreementConfig(weight=0.3)
OURS: Final = with_batch_anchors(FEW_ITC, anchor_contrast=CONTRAST)
KL: Final = with_batch_anchors(FEW_ITC, caption_agreement=AGREEMENT)
TO_ALL: Final = ConsistencyConfig(hinge="open")
"""The paper's: the five farthest views of each object, towards the anchor of all its views."""
OVT_TERM: Final = with_loss(ITC, consistency=TO_ALL)
NEAR_THE_BASE: Final = DistillationConfig(weight=1.0)
SPREAD_OUT: Final = FloorConfig(weight=1.0)
BY_LORA: Final = replace(OURS, image="lora", optimiser=LORA_OPTIMISER)

ROWS: Final = (
    Row("all views captioned: ITC (upper bound)", ITC),
    Row("  + OVT as in the paper (LoRA, VIFormer)", PAPER),
    Row("  + OVT's term on full tuning", OVT_TERM),
    Row("3 captioned: ITC alone", FEW_ITC),
    Row("  + OVT's term, anchor of all views", with_loss(FEW_ITC, consistency=TO_ALL)),
    Row("  + contrast with anchors (ours)", OURS),
    Row(
        "  + contrast, anchors shuffled", with_batch_anchors(FEW_ITC, anchor_contrast=CONTRAST, shuffled=True)
    ),
    Row("  + KL over captions", KL),
    Row("  + KL, anchors shuffled", with_batch_anchors(FEW_ITC, caption_agreement=AGREEMENT, shuffled=True)),
    Row("ours, twice the replay", replace(OURS, replayed=64)),
    Row("ours, distilled on replay", with_loss(OURS, distillation=NEAR_THE_BASE)),
    Row("ours, LoRA of rank 8", BY_LORA),
    Row("all captioned: ITC, replay of all classes", replace(ITC, replay="all")),
    Row("3 captioned: ITC, replay of all classes", replace(FEW_ITC, replay="all")),
    Row("ours, replay of all classes", replace(OURS, replay="all")),
    Row("KL, replay of all classes", replace(KL, replay="all")),
    Row(
        "ours, distilled on replay of all classes",
        with_loss(replace(OURS, replay="all"), distillation=NEAR_THE_BASE),
    ),
)
"""Of the claim."""

SWITCHES: Final = (
    Row("OVT as in the paper (LoRA, VIFormer)", PAPER),
    Row("  VIFormer attends to the object's views", with_viformer(PAPER, attend="views")),
    Row("  VIFormer attends to patches", with_viformer(PAPER, attend="patches")),
    Row("all captioned: OVT's term, full anchors", OVT_TERM),
    Row("  anchors from a bank", replace(OVT_TERM, anchors=BANKED)),
    Row("  full anchors, variance floor", with_loss(OVT_TERM, variance_floor=SPREAD_OUT)),
    Row("all captioned: ITC", ITC),
    Row("  LoRA on the text tower", replace(ITC, text="lora")),
    Row("3 captioned: ours, anchors of the batch", OURS),
    Row("  ours, full anchors", replace(OURS, anchors=OF_CAPTIONED)),
    Row("  ours, anchors from a bank", replace(OURS, anchors=BANKED_CAPTIONED)),
    Row("  ours, variance floor", with_loss(OURS, variance_floor=SPREAD_OUT)),
    Row("ours, LoRA of rank 8", BY_LORA),
    Row("  ours, LoRA on the text tower too", replace(BY_LORA, text="lora")),
)
"""Of the product beyond the paper: each beneath the row from which it differs by this switch alone."""

GROUPS: Final = {"claim": ROWS, "switches": SWITCHES}
