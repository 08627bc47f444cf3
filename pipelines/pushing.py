"""Put a finished dataset on the hub: files that lack first, card and manifest last.

Nothing is remembered between attempts: what is there is known by its hash, so that a killed push goes on, and
one that changed a few shards sends those. Until the last commit the repository shows the card it had.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from huggingface_hub import DatasetCard, DatasetCardData

from mvcap import __version__, files
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, UnfinishedError
from mvcap.plan import Plan
from mvcap.pushes import Hashes, Repository
from mvcap.report.card import BIBTEX
from mvcap.report.card_metadata import with_split_sizes
from mvcap.report.croissant import croissant
from mvcap.schema import SCHEMA_VERSION, TABLES
from mvcap.storage import Store
from pipelines.surveying import survey

CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
MANIFEST: Final = "manifest.json"
FILES_AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 8 * 10**9
"""Of one commit: what an attempt has committed, the next one does not even ask for."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    url: str
    sent: int
    """Files, card and manifest included; 0 where the repository had everything."""
    bytes: int
    already_there: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the dataset, as it is to be on the hub."""

    path: Path
    sha256: str
    bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)


def push_dataset(root: Path, repository: Repository, *, private: bool, say: Callable[[str], None]) -> Pushed:
    """Make a branch of a repository hold a finished dataset.

    Files of data that an earlier push brought and the dataset no longer has are deleted with the last commit;
    foreign files stay.

    Raises:
        UnfinishedError: the dataset is not whole.
        CorruptDatasetError: a file is not what its commit record says.
        PushError: the hub refuses.
        HubUnreachableError: it does not answer.
    """
    store = Store(root)
    plan = store.require_plan()
    if not survey(store, plan).complete or not (root / CARD).exists():
        raise UnfinishedError(root)
    wanted = dict(_files(root, store, plan))
    last = {
        CARD: _card(store, plan, repository),
        CROISSANT: _croissant(store, plan, wanted, repository),
        MANIFEST: _manifest(wanted),
    }
    repository.create(private=private)
    there = repository.list_files()
    lacking = {name: file for name, file in wanted.items() if not _is_there(there.get(name), file.sha256)}
    changed = {name: data for name, data in last.items() if not _same(there.get(name), Hashes.of(data))}
    stale = _stale(repository, there, wanted) if lacking or changed else []
    for batch in _batches(lacking):
        for name, file in batch.items():
            _check(name, file)
        repository.commit("Add data", {name: file.path for name, file in batch.items()})
        say(f"pushed {', '.join(batch) if len(batch) < 4 else f'{len(batch)} files'}")
    if changed or stale:
        repository.commit("Add card and manifest", changed, stale)
    return Pushed(
        repository.url,
        len(lacking) + len(changed),
        sum(file.bytes for file in lacking.values()) + sum(len(data) for data in changed.values()),
        len(wanted) + len(last) - len(lacking) - len(changed),
    )


def _files(root: Path, store: Store, plan: Plan) -> Iterator[tuple[str, _File]]:
    """Yield what is pushed before the card: data first, then the tables and the sample pictures."""
    for shard in plan.shards:
        commit = store.read_commit(CAPTION, shard.index)
        if commit and commit.file and commit.sha256:
            facts = {"split": shard.split, "rows": commit.rows}
            yield commit.file, _File(root / commit.file, commit.sha256, commit.bytes, facts)
    for name in (*TABLES, store.name_of(store.samples_path)):
        path = root / name
        if path.exists():
            yield name, _File(path, files.checksum_of(path), path.stat().st_size)


def _card(store: Store, plan: Plan, repository: Repository) -> bytes:
    """Return the dataset's card with the sizes of its splits and the name to load it by."""
    card = DatasetCard(files.read_bytes(store.root / CARD).decode("utf-8"))
    sizes: dict[str, tuple[int, int]] = {}
    for shard in plan.shards:
        commit = store.read_commit(CAPTION, shard.index)
        if commit and commit.file:
            rows, size = sizes.get(shard.split, (0, 0))
            sizes[shard.split] = rows + commit.rows, size + commit.bytes
    told = yaml.safe_load(card.data.to_yaml())
    metadata = DatasetCardData(**with_split_sizes(told, sizes))
    body = card.text.strip().replace("PATH_OR_NAME", repository.name)
    return f"---\n{metadata.to_yaml()}\n---\n\n{body}\n".encode()


def _croissant(store: Store, plan: Plan, wanted: Mapping[str, _File], repository: Repository) -> bytes:
    """Describe the files for whatever reads Croissant, under the licences of the objects that have views."""
    there = {uid for commit in store.read_commits(plan, CAPTION) for uid in commit.views}
    return croissant(
        repository.name.partition("/")[2],
        url=repository.url,
        licenses={item.record.license or "unknown" for item in store.read_objects() if item.uid in there},
        tables=[table for table in TABLES if table in wanted],
        cite_as=BIBTEX,
    )


def _manifest(wanted: Mapping[str, _File]) -> bytes:
    content = {
        "mvcap": __version__,
        "schema_version": SCHEMA_VERSION,
        "files": {
            name: {"sha256": file.sha256, "bytes": file.bytes, **file.facts} for name, file in wanted.items()
        },
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _is_there(found: Hashes | None, sha256: str) -> bool:
    return found is not None and found.sha256 == sha256


def _same(found: Hashes | None, own: Hashes) -> bool:
    return found is not None and (found.sha256 == own.sha256 or found.git_sha1 == own.git_sha1)


def _check(name: str, file: _File) -> None:
    """Hash a file before it is sent, so that damage does not spread.

    Raises:
        CorruptDatasetError: it is not what was committed.
    """
    if not file.path.exists() or files.checksum_of(file.path) != file.sha256:
        raise CorruptDatasetError(
            f"{name} is not what its commit record says: run `mvcap verify`, build again, then push again"
        )


def _stale(repository: Repository, there: Mapping[str, Hashes], wanted: Mapping[str, _File]) -> list[str]:
    """List the files that the last manifest names, that are still there, and that are wanted no more."""
    content = repository.read(MANIFEST) if MANIFEST in there else None
    try:
        named = json.loads(content or b"{}").get("files", {})
    except (ValueError, AttributeError):
        return []
    return [name for name in named if name in there and name not in wanted]


def _batches(lacking: Mapping[str, _File]) -> Iterator[dict[str, _File]]:
    batch: dict[str, _File] = {}
    for name, file in lacking.items():
        size = sum(each.bytes for each in batch.values())
        if batch and (len(batch) == FILES_AT_ONCE or size + file.bytes > BYTES_AT_ONCE):
            yield batch
            batch = {}
        batch[name] = file
    if batch:
        yield batch
