"""What a dataset's own commit records tell of how long its stages take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mvcap.commits import CAPTION, RENDER, Commit, StageName
from mvcap.config import Config
from mvcap.plan import Plan
from mvcap.storage import Store
from pipelines.rates import Rate

COMPARED: Mapping[StageName, tuple[str, ...]] = {
    RENDER: ("backend", "preset", "samples", "light", "resolution"),
    CAPTION: ("backend", "options.model"),
}
"""Settings that decide what a view costs: shards made with other ones tell nothing of it."""


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """What a dataset shows of itself."""

    rates: Mapping[StageName, Rate] = field(default_factory=dict)
    done: Mapping[StageName, int] = field(default_factory=dict)
    """Views that are there."""
    bytes_per_view: float | None = None


def own_figures(config: Config, store: Store | None) -> OwnFigures:
    """Read them from the records of a dataset, finished or not; nothing where there is none."""
    plan = store.read_plan() if store else None
    if store is None or plan is None:
        return OwnFigures()
    commits = {stage: _commits(store, plan, stage) for stage in (RENDER, CAPTION)}
    found = {stage: _own_rate(config, store, stage, held) for stage, held in commits.items()}
    data = [commit for commit in _commits(store, plan, CAPTION, uncaptioned=True) if commit.rows]
    like_it = found[RENDER] is not None and data
    return OwnFigures(
        {stage: rate for stage, rate in found.items() if rate},
        {stage: sum(commit.rows for commit in held) for stage, held in commits.items()},
        sum(commit.bytes for commit in data) / sum(commit.rows for commit in data) if like_it else None,
    )


def _commits(store: Store, plan: Plan, stage: StageName, *, uncaptioned: bool = False) -> list[Commit]:
    found = (store.find_commit(stage, shard) for shard in plan.shards)
    return [commit for commit in found if commit and (uncaptioned or not commit.uncaptioned)]


def _own_rate(config: Config, store: Store, stage: StageName, commits: Iterable[Commit]) -> Rate | None:
    """Average what shards took that were made with the same settings, as far as these decide it."""
    wanted = _compared(config, stage)
    alike = [
        commit for commit in commits if commit.rows and _same(store.settings(stage, commit.settings), wanted)
    ]
    if not alike:
        return None
    rows, seconds = sum(commit.rows for commit in alike), sum(commit.seconds for commit in alike)
    device: Literal["CPU", "GPU"] = "CPU" if _on_cpu(alike[-1]) else "GPU"
    basis = f"{rows} views of {store.root} itself, in {seconds:.0f} s of its workers"
    return Rate(0.0, seconds / rows, device, basis)


def _compared(config: Config, stage: StageName) -> dict[str, Any]:
    if stage == RENDER:
        return {name: getattr(config.render, name) for name in COMPARED[RENDER]}
    return {"backend": config.captions.backend, "options.model": model_name(config)}


def _same(settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(settings.get(name) == value for name, value in wanted.items())


def _on_cpu(commit: Commit) -> bool:
    return str(commit.made_by.get("device", "cpu")).lower() == "cpu"


def model_name(config: Config) -> str | None:
    """Return the captioner's model, where its options name one."""
    options = config.captions.options
    value = options.get("model") if isinstance(options, dict) else getattr(options, "model", None)
    return None if value is None else str(value)
