"""Find and delete what no commit needs: unfinished files, broken shards set aside, captioned views."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from mvcap import files
from mvcap.commits import CAPTION, RENDER, STAGES
from mvcap.errors import DiskFullError
from mvcap.places import Place
from mvcap.plan import Plan, Shard
from mvcap.storage import Store
from pipelines.shards import lacks_captions


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file that nothing needs."""

    file: str
    """Relative to the dataset."""
    bytes: int
    what: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def collect_garbage(
    root: Place, say: Callable[[str], None], *, delete: bool, steal_lock: bool = False
) -> list[Garbage]:
    """Find a dataset's garbage, and delete it.

    Args:
        delete: otherwise it is only listed.

    Raises:
        OutputError: the folder holds no dataset.
        DatasetLockedError: a driver is at work on it.
    """
    store = Store(root)
    plan = store.require_plan()
    with store.lock(None, steal=steal_lock, tell=say) as hold:
        _roll_forward(store, plan)
        found = list(find_garbage(store, plan))
        if delete and found:
            with suppress(DiskFullError):  # which is what it is run for
                hold.announce()
            idle = list(_with_idle_views(store, plan))
            waiting = {store.target(RENDER, shard) for shard in idle}
            for place in (_place(store, item.file) for item in found):
                if place not in waiting:
                    files.delete(place)
            for shard in idle:  # once there is room for their records, which say so before the files go
                store.drop_views(shard)
            files.discard_uploads(root)
    return found


def find_garbage(store: Store, plan: Plan) -> Iterator[Garbage]:
    """Yield the files that no commit, and nothing else of the dataset, needs."""
    idle = {store.target(RENDER, shard) for shard in _with_idle_views(store, plan)}
    dropped = {store.target(RENDER, shard) for shard in plan.shards if _is_dropped(store, shard)}
    for path in files.list_files(store.root):
        what = None
        if store.is_unfinished(path):
            what = "unfinished: left by a run that was killed"
        elif path.parent == store.broken:
            what = "broken: set aside by `mvcap verify`"
        elif path in idle or path in dropped:
            what = "rendered views that are captioned"
        if what:
            known = files.facts(path)
            yield Garbage(store.name_of(path), known.bytes if known else 0, what)


def _roll_forward(store: Store, plan: Plan) -> None:
    """Finish commits that were cut off, whose files are no garbage."""
    for shard in plan.shards:
        for stage in STAGES:
            store.find_commit(stage, shard)


def _with_idle_views(store: Store, plan: Plan) -> Iterator[Shard]:
    """Yield the shards whose rendered views the data holds as well; kept on purpose or not."""
    keep = (store.read_config()["config"].get("run") or {}).get("keep_views", False)
    for shard in plan.shards:
        data, views = store.find_commit(CAPTION, shard), store.read_commit(RENDER, shard.index)
        if keep or data is None or views is None or views.dropped or views.file is None:
            continue
        if not lacks_captions(data) and not store.is_outdated(data):
            yield shard


def _is_dropped(store: Store, shard: Shard) -> bool:
    commit = store.read_commit(RENDER, shard.index)
    return commit is not None and commit.dropped


def _place(store: Store, name: str) -> Place:
    place = store.root
    for part in name.split("/"):
        place = place / part
    return place
