"""Work for one process: pre-train a base, or tune it by a row's recipe, and judge both."""

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from viewpoint_claim.data import Parted, Pictures
from viewpoint_claim.evaluation import CLEAN, DAMAGED, ODD, Exam, Marks, make_exam, take
from viewpoint_claim.rows import Row
from viewpoint_claim.student import untuned
from viewpoint_claim.tiny_clip import Pretraining, pretrain
from viewpoint_claim.tuning import tune
from viewpoint_claim.wording import Tokenizer

SHARES: Final = (0.4, 0.7, 1.0)
"""Of the tuned weights in the mean with the base's, from which validation objects choose."""
TOLERATED: Final = {CLEAN: 0.5, DAMAGED: 1.0}
"""Points that a choice may lose on validation objects."""


@dataclass(frozen=True, slots=True)
class Result:
    """A model's marks on the test objects."""

    marks: Marks
    """At `share`."""
    tuned: Marks
    """At 1."""
    share: float
    """Chosen on validation objects; 1 for a base."""
    validation: dict[float, Marks]
    """By share."""
    seconds: float
    """CPU time."""
    told: dict[str, float]
    """Of anchors that are kept: see `training.maximising.AnchorKeeper.refresh`; means over refreshes."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a seed has at hand: its own split of the objects."""

    parted: Parted
    tokenizer: Tokenizer
    validation: Exam
    test: Exam

    @classmethod
    def of(cls, pictures: Pictures, seed: int) -> "Bench":
        parted = Parted.of(pictures, seed=seed)
        exams = (make_exam(parted, part) for part in ("validation", "test"))
        return cls(parted, Tokenizer(pictures.nouns), *exams)


@cache
def open_bench(folder: Path, seed: int) -> Bench:
    """Read what `Pictures.save` wrote, for work on one thread."""
    torch.set_num_threads(1)
    pictures = Pictures.load(folder)
    return Bench.of(replace(pictures, rgba=np.array(pictures.rgba)), seed)


def make_base(folder: Path, seed: int) -> Result:
    """Pre-train a seed's base and keep it in the folder."""
    bench, begun = open_bench(folder, seed), time.process_time()
    model = pretrain(bench.parted, bench.tokenizer, Pretraining(), seed=seed)
    torch.save(model, base_path(folder, seed))
    student = untuned(model, bench.tokenizer)
    validation, test = (take(exam, student) for exam in (bench.validation, bench.test))
    return Result(test, test, 1.0, {1.0: validation}, time.process_time() - begun, {})


def run_row(folder: Path, base: Marks, row: Row, seed: int) -> Result:
    """Tune the base; `base` are its marks on the validation objects."""
    bench, begun = open_bench(folder, seed), time.process_time()
    model: Any = torch.load(base_path(folder, seed), weights_only=False)  # `make_base` wrote it
    tuned, told = tune(bench.parted, model, bench.tokenizer, row.recipe, seed=seed)
    validation = {share: take(bench.validation, tuned.at(share)) for share in SHARES}
    chosen = choose_share(bench.validation, base, validation)
    test = {share: take(bench.test, tuned.at(share)) for share in {chosen, 1.0}}
    return Result(test[chosen], test[1.0], chosen, validation, time.process_time() - begun, told)


def base_path(folder: Path, seed: int) -> Path:
    return folder / f"base-{seed}.pt"


def choose_share(exam: Exam, base: Marks, by_share: dict[float, Marks]) -> float:
    """Choose the share with the best viewpoint-OOD among those that lose no more than is tolerated.

    Where all lose more, the one that loses least beyond it.
    """

    def beyond(marks: Marks) -> float:
        losses = (
            base.accuracy(exam, kind) - marks.accuracy(exam, kind) - points
            for kind, points in TOLERATED.items()
        )
        return sum(max(0.0, loss) for loss in losses)

    return min(by_share, key=lambda share: (beyond(by_share[share]), -by_share[share].accuracy(exam, ODD)))
