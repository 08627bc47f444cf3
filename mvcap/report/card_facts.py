"""What the dataset card says, gathered from the plan and the commit records."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mvcap.commits import CAPTION, IMPORTER, RENDER, Commit, StageName
from mvcap.config import UNNAMED, Config, RenderConfig, producing_settings
from mvcap.plan import Plan
from mvcap.report.titles import title_of
from mvcap.schema import SCHEMA_VERSION
from mvcap.storage import Store
from mvcap.tables import filled_rows


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card says, gathered from plan and commits."""

    objects: int
    views: int
    uncaptioned: int
    """Views whose captions are null."""
    failed: int
    """Objects."""
    any_failure: bool
    """Whether `failures.parquet` has rows: for objects or single views."""
    pending: int
    """Objects of shards that are not done; 0 in a finished dataset."""
    removed: int
    splits: Mapping[str, int]
    """Rows of each split that has any."""
    categories: Counter[str]
    credits: Counter[tuple[str, str, str]]
    """Objects of each (licence, creator, source)."""
    renderer: Mapping[str, Any]
    captioner: Mapping[str, Any]
    render: Mapping[str, Any]
    """Settings that the committed pictures were made with."""
    captions: Mapping[str, Any]
    """Settings that the committed captions were made with."""

    rendered: bool
    """Whether some of the pictures came from a renderer."""
    posed: int
    """Views whose camera is known."""
    data_bytes: int
    """Of the files of views."""
    current: bool
    """Whether every file of views has all columns of this version."""
    objects_of: Mapping[str, int]
    """Objects of each split that has any."""
    folder: str
    """The dataset's, as a command names it in the folder above; or its place in storage."""
    example: tuple[str, int] | None
    """A rendered view: its object's uid, and its index; None where none was rendered."""

    @property
    def credits_unknown(self) -> int:
        """Objects whose licence nobody told."""
        return sum(count for (name, _, _), count in self.credits.items() if name == "unknown")

    @property
    def imported(self) -> bool:
        """Whether some of the pictures came as they are instead of from a renderer."""
        return "pictures" in self.render


def gather_facts(store: Store, plan: Plan, config: Config) -> Facts:
    """Gather what the card says.

    Args:
        config: gives the settings where the recorded ones were lost.
    """
    data = {shard.index: store.read_commit(CAPTION, shard.index) for shard in plan.shards}
    held = [commit for commit in data.values() if commit]
    rendered = list(store.read_commits(plan, RENDER))
    captioned = [commit for commit in held if not commit.uncaptioned]
    defaults = producing_settings(RenderConfig())  # what a version did not record yet was as it is by default
    configured = {"seed": config.seed, **producing_settings(config.render)}
    views = Counter({uid: count for commit in held for uid, count in commit.views.items()})
    present = [item for item in store.read_objects() if item.uid in views]
    removals = store.read_removals()
    unfinished = (shard for shard in plan.shards if data[shard.index] is None)
    pending = len({uid for shard in unfinished for uid in shard.uids} - removals.keys())
    splits: Counter[str] = Counter()
    for shard in plan.shards:
        splits[shard.split] += commit.rows if (commit := data[shard.index]) else 0
    committed = _committed_settings(store, RENDER, rendered) or configured
    return Facts(
        objects=len(present),
        views=views.total(),
        uncaptioned=sum(commit.rows for commit in held if commit.uncaptioned),
        failed=sum(len(shard.uids) for shard in plan.shards)
        + len(store.read_listing_failures())
        - len(present)
        - len(removals)
        - pending,
        pending=pending,
        any_failure=bool(store.read_listing_failures()) or any(c.rejected for c in (*held, *rendered)),
        removed=len(removals),
        splits={split: rows for split, rows in splits.items() if rows},
        categories=Counter(item.category for item in present),
        credits=Counter(
            (item.record.license or "unknown", item.record.creator or "unknown", item.record.source)
            for item in present
        ),
        renderer=_made_by([c for c in rendered if c.made_by.get("name") != IMPORTER] or rendered),
        captioner=_made_by(captioned),
        render=defaults | committed,
        captions=_committed_settings(store, CAPTION, captioned) or producing_settings(config.captions),
        rendered="views" in committed,
        posed=_posed_views(store, held) if "pictures" in committed else views.total(),
        data_bytes=sum(commit.bytes for commit in held),
        current=all(commit.schema_version == SCHEMA_VERSION for commit in held),
        objects_of=Counter(shard.split for shard in plan.shards for uid in shard.uids if views.get(uid)),
        folder=title_of(UNNAMED, store.root) if isinstance(store.root, Path) else str(store.root),
        example=_rendered_view(rendered, views, imported="pictures" in committed),
    )


def _rendered_view(
    commits: Iterable[Commit], views: Mapping[str, int], *, imported: bool
) -> tuple[str, int] | None:
    """Find the first view that was rendered; of objects beside imported ones only Blender tells textures."""
    for commit in commits:
        lost = {(rejected.uid, rejected.view_index) for rejected in commit.rejected}
        for uid in commit.views:
            textured = commit.assets.get(uid, {}).get("missing_textures") is not None
            if uid in views and (textured or not imported):
                return uid, next(index for index in count() if (uid, index) not in lost)
    return None


def _posed_views(store: Store, commits: Iterable[Commit]) -> int:
    """Count the views with a camera, from the statistics in the footers of the data's files."""
    return sum(filled_rows(store.root / commit.file, "distance") for commit in commits if commit.file)


def _made_by(commits: Iterable[Commit]) -> Mapping[str, Any]:
    return next((commit.made_by for commit in commits if commit.made_by), {})


def _committed_settings(store: Store, stage: StageName, commits: Iterable[Commit]) -> dict[str, Any]:
    """Look up what a stage's shards were made with; a complete dataset has one such answer."""
    return next((found for commit in commits if (found := store.settings(stage, commit.settings))), {})
