"""The room that a build will need on its disk: told before it starts, and again where the disk is full."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mvcap.commits import CAPTION, STAGES
from mvcap.config import Config
from mvcap.errors import DiskFullError
from mvcap.plan import Plan, Shard
from mvcap.quantities import by_number, quantity
from mvcap.storage import Store
from pipelines import rates

Say = Callable[[str], None]


@contextmanager
def room_told(
    config: Config,
    store: Store,
    plan: Plan,
    shards: Sequence[int],
    views_of: Callable[[Shard], int],
    say: Say,
) -> Iterator[None]:
    """Say beforehand if a dataset will not fit on its disk, and how much it lacks where that is full.

    What fits is built all the same: the figures are guesses, and what is committed stays.

    Args:
        shards: those whose data are to be written.
        views_of: how many views a shard is expected to have.

    Raises:
        DiskFullError: as raised inside, with the bytes that the shards to come need.
    """
    to_come = [plan.shards[index] for index in shards]
    needed = _bytes_of(config, store, plan, to_come, views_of)
    if isinstance(store.root, Path) and needed is not None:
        free = shutil.disk_usage(store.root).free
        if needed > free:
            coming = by_number(len(to_come), "shard", f"{len(to_come)} shards")
            say(
                f"the {coming} to come will need about {_told(needed)}, and {_told(free)} are "
                f"free at {store.root}: free some meanwhile; what is committed stays if the disk is full"
            )
    try:
        yield
    except DiskFullError as error:
        left = [shard for shard in to_come if store.read_commit(CAPTION, shard.index) is None]
        needed = _bytes_of(config, store, plan, left, views_of)
        coming = f"{quantity(len(left), 'shard')} {by_number(len(left), 'is', 'are')}"
        need = (
            "" if needed is None else f", which {by_number(len(left), 'needs', 'need')} about {_told(needed)}"
        )
        raise DiskFullError(f"{error}; {coming} still to come{need}") from error


def _bytes_of(
    config: Config, store: Store, plan: Plan, shards: Sequence[Shard], views_of: Callable[[Shard], int]
) -> float | None:
    """Guess how large shards will be; None where nothing is known of their pictures."""
    view_bytes = _view_bytes(config, store, plan)
    return None if view_bytes is None else view_bytes * sum(map(views_of, shards))


def _view_bytes(config: Config, store: Store, plan: Plan) -> float | None:
    """Return the bytes of a view with its row: those of the dataset's own, else as measured elsewhere."""
    commits = [commit for commit in store.read_commits(plan, *STAGES) if commit.rows]
    if commits:
        return sum(commit.bytes for commit in commits) / sum(commit.rows for commit in commits)
    render = config.render
    measured = rates.bytes_per_view(render.preset, render.resolution)
    return measured if render.image.format == "jpeg" and render.backend == "blender" else None


def _told(size_bytes: float) -> str:
    unit, name = (1e9, "GB") if size_bytes >= 1e9 else (1e6, "MB")
    return f"{size_bytes / unit:,.1f} {name}"
