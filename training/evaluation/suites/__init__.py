"""Suites: sets in groups, one YAML file each, with the average of each group and gaps between sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field, ValidationError, model_validator

from mvcap import recipes
from mvcap.config import Section
from mvcap.errors import ConfigError, EmptyInputError
from training.evaluation.evaluate import Pictures

PACKAGE = "training.evaluation.suites"


class SetConfig(Section):
    """A set of a suite."""

    group: str
    path: str | None = None
    """Where its pictures are; `--data NAME=DIR` says it as well. Left out without either."""
    names: str | None = None
    """A file of class names, where labels are none."""
    split: str = "test"
    """Of a dataset of ours."""


class Suite(Section):
    """What is evaluated together."""

    name: str = "custom"
    sets: dict[str, SetConfig] = Field(min_length=1)
    gaps: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """By how much the first set's top-1 is above the second's."""

    @model_validator(mode="after")
    def _check_gaps(self) -> "Suite":
        for gap, pair in self.gaps.items():
            for name in pair:
                if name not in self.sets:
                    raise ValueError(f"gaps.{gap}: there is no set {name!r}")
        return self

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the sets of each group, in the order of the file."""
        found: dict[str, list[str]] = {}
        for name, chosen in self.sets.items():
            found.setdefault(chosen.group, []).append(name)
        return found


def read_suite(name_or_file: str) -> Suite:
    """Read a suite that ships, by its name, or a YAML file; paths in a file are relative to it.

    Raises:
        UnknownNameError: there is no such suite.
        ConfigError: with a line for every problem.
    """
    try:
        suite = Suite.model_validate(recipes.read_recipe(name_or_file, PACKAGE))
    except ValidationError as error:
        raise ConfigError([*recipes.problem_lines(error, Suite)]) from error
    folder = Path(name_or_file).absolute().parent
    sets = {
        name: chosen.model_copy(
            update={
                key: str(folder / Path(value).expanduser())
                for key in ("path", "names")
                if (value := getattr(chosen, key))
            }
        )
        for name, chosen in suite.sets.items()
    }
    return suite.model_copy(update={"sets": sets})


def with_suite(suite: Suite, given: Sequence[Pictures]) -> list[Pictures]:
    """Return the sets of a suite whose place is known, and the given ones that are not of it.

    Raises:
        EmptyInputError: no place of any is known.
    """
    by_name = {wanted.name: wanted for wanted in given}
    found = []
    for name, chosen in suite.sets.items():
        names = Path(chosen.names) if chosen.names else None
        if name in by_name:
            wanted = by_name.pop(name)
            found.append(replace(wanted, names=wanted.names or names, split=chosen.split))
        elif chosen.path:
            found.append(Pictures(name, Path(chosen.path), chosen.split, names))
    if not found:
        raise EmptyInputError(
            f"the suite {suite.name} does not know where its sets are: give --data NAME=DIR for some of "
            f"{', '.join(suite.sets)}"
        )
    return [*found, *by_name.values()]


def summarise(suite: Suite, sets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plain mean of each group's top-1, and the gaps, as plain values.

    Args:
        sets: of a report, see `training.evaluation.reporting.collect`.
    """
    top1 = {told["name"]: told["top1"]["mean"] for told in sets}
    base = {told["name"]: told["base"]["top1"]["mean"] for told in sets if "base" in told}
    groups, gaps = [], []
    for group, names in suite.groups.items():
        there = [name for name in names if name in top1]
        groups.append(
            {
                "name": group,
                "sets": there,
                "missing": [name for name in names if name not in top1],
                "top1": fmean(top1[name] for name in there) if there else None,
                "base_top1": fmean(base[name] for name in there) if there and base else None,
            }
        )
    for gap, (first, second) in suite.gaps.items():
        if first in top1 and second in top1:
            before = base[first] - base[second] if base else None
            gaps.append({"name": gap, "top1": top1[first] - top1[second], "base_top1": before})
    return {"suite": suite.name, "groups": groups, "gaps": gaps}
