"""A dataset's folder: where everything lies, and how a shard becomes part of it.

A shard's file is written under a temporary name; then its commit record is created, which names that
file and its checksum; then the file takes its final name. Only the winner of the commit record renames,
so two attempts at a shard cannot mix, and a crash between the two steps is rolled forward by the next
reader. A file without a commit record does not exist.
"""

import errno
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mvcap import fault_points, files, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.config import settings_hash
from mvcap.errors import CorruptDatasetError, OutputError
from mvcap.flocks import waiting_lock
from mvcap.holds import Guard, Hold, Part, unguarded
from mvcap.leaks import Leaks
from mvcap.locks import dataset_lock
from mvcap.places import ObjectPlace, Place, relative_name
from mvcap.plan import Plan, Shard
from mvcap.records import Rejected, SelectedObject
from mvcap.removals import Removal, Removals, removals_from_json, removals_to_json
from mvcap.rows import planned_from_row, planned_row
from mvcap.tables import TableWriter, open_table, read_table

INTERNAL = "_mvcap"

LOST_PLAN_REMEDY = (
    "nothing else says which objects a shard holds: put it back from a copy, or build into another folder"
)
PLAN_REMEDY = "delete it and run the same build again with its sources"
CONFIG_REMEDY = "delete it and run the same build again with its configuration"
REMOVALS_REMEDY = (
    "mend it by hand, or delete it and remove the objects anew: their uids are those of status removed in "
    "objects.parquet"
)
SETTINGS_REMEDY = "delete it and run again with the same settings, which writes it anew"


class Store:
    """The files of one dataset.

    Args:
        root: the dataset's place; it need not exist yet.
        guard: asked before every commit whether the dataset is still held.
    """

    def __init__(self, root: Place, guard: Guard = unguarded) -> None:
        self.root = root
        self.guard = guard

    @contextmanager
    def lock(
        self,
        part: Part | None = None,
        *,
        steal: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Hold]:
        """Hold the dataset, or a slice of it, and guard what this store commits: see `dataset_lock`."""
        with dataset_lock(self.internal, part, steal=steal, tell=tell) as hold:
            self.guard = hold.guard
            yield hold

    # places

    @property
    def internal(self) -> Place:
        return self.root / INTERNAL

    @property
    def attempts(self) -> Place:
        """Where files lie that are not committed; never beside the data, where readers would find them."""
        return self.internal / "attempts"

    @property
    def broken(self) -> Place:
        """Where files lie that contradict their commit records, for whoever wants to know why."""
        return self.internal / "broken"

    @property
    def views(self) -> Place:
        """Where rendered shards lie until they are captioned."""
        return self.internal / "views"

    def name_of(self, place: Place) -> str:
        """Name a file of the dataset as records do: by what comes after the root."""
        return relative_name(place, self.root)

    def is_internal(self, place: Place) -> bool:
        """Tell whether a file or folder of the dataset is our own, and not for readers."""
        name = self.name_of(place)
        return name == INTERNAL or name.startswith(f"{INTERNAL}/")

    def target(self, stage: StageName, shard: Shard) -> Place:
        """Where a stage's file of a shard lies."""
        if stage == RENDER:
            return self.views / f"{shard.index:05d}.parquet"
        return self.root / "data" / shard.file_name

    def commit_path(self, stage: StageName, index: int) -> Place:
        return self.internal / "commits" / stage / f"{index:05d}.json"

    def sheet_path(self, shard: Shard) -> Place:
        return self.root / "report" / "sheets" / f"{Path(shard.file_name).stem}.png"

    @property
    def samples_path(self) -> Place:
        return self.root / "report" / "samples.png"

    @property
    def page_path(self) -> Place:
        return self.root / "report" / "index.html"

    @property
    def objects_path(self) -> Place:
        return self.internal / "objects.parquet"

    @property
    def finished_path(self) -> Place:
        return self.internal / "finished.json"

    @property
    def listing_failures_path(self) -> Place:
        return self.internal / "listing_failures.json"

    @property
    def leaks_path(self) -> Place:
        return self.internal / "leaks.json"

    @property
    def removals_path(self) -> Place:
        return self.internal / "removed.json"

    @property
    def config_path(self) -> Place:
        return self.internal / "config.yaml"

    def settings_path(self, stage: StageName, digest: str) -> Place:
        return self.internal / "settings" / f"{stage}-{digest}.json"

    # plan

    def read_plan(self) -> Plan | None:
        """Read the plan, or None where the folder holds no dataset yet.

        Raises:
            CorruptDatasetError: the plan is damaged, or lost while shards are there that were made by it.
        """
        path = self.internal / "plan.json"
        if not files.exists(path):
            if any(file.suffix == ".json" for file in files.list_files(self.internal / "commits")):
                raise CorruptDatasetError(
                    f"{path} is missing, though shards are committed; {LOST_PLAN_REMEDY}"
                )
            return None
        try:
            return Plan.from_json(json.loads(files.read_bytes(path)))
        except ValueError as error:
            raise CorruptDatasetError(f"{path} is damaged: {error}; {LOST_PLAN_REMEDY}") from error

    def require_plan(self) -> Plan:
        """Read the plan of a dataset that must exist.

        Raises:
            OutputError: the folder holds no dataset.
        """
        if plan := self.read_plan():
            return plan
        raise self.no_dataset(f"{INTERNAL}/plan.json")

    def no_dataset(self, missing: str) -> OutputError:
        """Return what to raise where there is no dataset, for want of a file."""
        gone = isinstance(self.root, Path) and not self.root.is_dir()
        why = "there is no such folder" if gone else f"it has no {missing}"
        advice = "give what --out named when it was built"
        return OutputError(f"{self.root} is not a dataset of mvcap: {why}; {advice}")

    def write_plan(
        self,
        plan: Plan,
        objects: Iterable[SelectedObject],
        listing_failures: Iterable[Rejected],
        leaks: Leaks | None = None,
    ) -> None:
        """Store the plan and what it is about; the plan itself comes last and makes the rest count.

        Raises:
            LockLostError: another driver has taken the dataset over.
        """
        self.guard()
        by_uid = {item.uid: item for item in objects}
        with (
            files.staged(self.objects_path) as path,
            TableWriter(path, schema.PLANNED_SCHEMA) as writer,
        ):
            for shard in plan.shards:
                writer.write([planned_row(by_uid[uid], shard.index) for uid in shard.uids])
        fault_points.passing("plan.objects")
        listed = [asdict(rejected) for rejected in listing_failures]
        files.write_json(self.listing_failures_path, listed)
        fault_points.passing("plan.failures")
        files.write_json(self.leaks_path, (leaks or Leaks()).to_json())
        fault_points.passing("plan.leaks")
        files.write_json(self.internal / "plan.json", plan.to_json())
        fault_points.passing("plan.written")

    def read_listing_failures(self) -> list[Rejected]:
        """Read what the sources named but could not give.

        Raises:
            CorruptDatasetError: the list is damaged.
        """
        path = self.listing_failures_path
        if not files.exists(path):
            return []
        with _damage_explained(path, PLAN_REMEDY):
            return [Rejected(**entry) for entry in json.loads(files.read_bytes(path))]

    def read_objects(self, shard: Shard | None = None) -> list[SelectedObject]:
        """Read the planned objects, of one shard or of all, in the plan's order.

        Raises:
            CorruptDatasetError: they are damaged, or missing though there is a plan.
        """
        path = self.objects_path
        if not files.exists(path):
            if self.read_plan():
                raise CorruptDatasetError(f"{path} is missing; run the same build again with its sources")
            return []
        chosen = [("shard", "=", shard.index)] if shard else None
        with _damage_explained(path, PLAN_REMEDY):
            rows = read_table(path, filters=chosen).to_pylist()
            return [planned_from_row(row) for row in rows]

    def read_leaks(self) -> Leaks:
        """Read what the plan keeps out of training; nothing where an older version made it.

        Raises:
            CorruptDatasetError: the record is damaged.
        """
        if not files.exists(self.leaks_path):
            return Leaks()
        with _damage_explained(self.leaks_path, PLAN_REMEDY):
            return Leaks.from_json(json.loads(files.read_bytes(self.leaks_path)))

    def read_removals(self) -> dict[str, Removal]:
        """Read what was taken out of the dataset, by uid.

        Raises:
            CorruptDatasetError: the record is damaged.
        """
        if not files.exists(self.removals_path):
            return {}
        with _damage_explained(self.removals_path, REMOVALS_REMEDY):
            return removals_from_json(json.loads(files.read_bytes(self.removals_path)))

    def write_removals(self, removals: Removals) -> None:
        """Store what was taken out.

        Raises:
            LockLostError: another driver has taken the dataset over.
        """
        self.guard()
        files.write_json(self.removals_path, removals_to_json(removals))

    # configuration

    def read_config(self) -> dict[str, Any]:
        """Read the recorded configuration, `config`, and its hash for each stage, `stages`; empty where there
        is none.

        Raises:
            CorruptDatasetError: it is damaged.
        """
        if not files.exists(self.config_path):
            return {"config": {}, "stages": {}}
        with _damage_explained(self.config_path, CONFIG_REMEDY):
            content = yaml.safe_load(files.read_bytes(self.config_path))
            return {"config": dict(content["config"]), "stages": dict(content["stages"])}

    # settings

    def remember_settings(self, stage: StageName, settings: Mapping[str, Any]) -> str:
        """Keep a stage's settings under their hash, and return it."""
        digest = settings_hash(settings)
        path = self.settings_path(stage, digest)
        if not files.exists(path):
            files.write_json(path, dict(settings))
        return digest

    def settings(self, stage: StageName, digest: str) -> dict[str, Any]:
        """Look up settings by their hash; empty where they were lost.

        Raises:
            CorruptDatasetError: what stands there is damaged, or other settings than the hash says.
        """
        path = self.settings_path(stage, digest)
        if not files.exists(path):
            return {}
        with _damage_explained(path, SETTINGS_REMEDY):
            settings = dict(json.loads(files.read_bytes(path)))
            if settings_hash(settings) != digest:
                raise ValueError("its content does not have the hash in its name")
            return settings

    # commits

    @contextmanager
    def fetched(self) -> Iterator[None]:
        """Read all commit records, and ask for their files, at once; they count until the end of the block.

        For whoever looks at a whole dataset in storage, where each question takes its time.
        """
        plan = None if isinstance(self.root, Path) else self.read_plan()
        shards = plan.shards if plan else ()

        def committed() -> Iterator[Place]:
            for shard in shards:
                for stage in STAGES:
                    commit = self.read_commit(stage, shard.index)
                    if commit and commit.file and not commit.dropped:
                        yield self.root / commit.file
                        yield from (self.sheet_path(shard),) if stage == CAPTION else ()

        records = [self.commit_path(stage, shard.index) for shard in shards for stage in STAGES]
        with files.fetched(records, committed):
            yield

    def read_commit(self, stage: StageName, index: int) -> Commit | None:
        """Read a commit record as it stands, whatever became of its file."""
        return self._read_record(stage, index)[0]

    def read_commits(self, plan: Plan, *stages: StageName) -> Iterator[Commit]:
        """Read the commit records there are of a plan's shards, shard by shard."""
        for shard in plan.shards:
            for stage in stages:
                if commit := self.read_commit(stage, shard.index):
                    yield commit

    def _read_record(self, stage: StageName, index: int) -> tuple[Commit | None, str | None]:
        """Read a commit record and its version; a damaged one has a version only."""
        try:
            content, version = files.read_versioned(self.commit_path(stage, index))
        except FileNotFoundError:
            return None, None
        try:
            return Commit.from_json(json.loads(content)), version
        except (ValueError, KeyError, TypeError):
            return None, version  # it proves nothing: the shard is done again

    def find_commit(self, stage: StageName, shard: Shard) -> Commit | None:
        """Return the commit of a shard that is done: its file is there, with the right size.

        A dropped file counts for as long as the next stage's commit stands.
        """
        commit = self.read_commit(stage, shard.index)
        if commit is None:
            return None
        if commit.dropped:
            return commit if stage == RENDER and self.find_commit(CAPTION, shard) else None
        if commit.file is None:
            return commit
        path = self.target(stage, shard)
        if path != self.root / commit.file:
            return None
        facts = files.facts(path)
        if facts is None or facts.sha256 != commit.sha256:  # a disk tells no checksum: sizes may be equal
            with _refusal_suppressed():  # who may only read waits for who may write
                self._roll_forward(commit, shard)
            facts = files.facts(path, anew=True)
        whole = facts and facts.bytes == commit.bytes and facts.sha256 in (None, commit.sha256)
        return commit if whole else None

    def _roll_forward(self, commit: Commit, shard: Shard) -> None:
        """Give a committed file its final name, unless another commit has replaced it meanwhile."""
        temporary = self.attempts / Path(commit.temporary or "").name
        if commit.temporary is None or not files.exists(temporary):
            return
        final = self.target(commit.stage, shard)
        with self._turn(commit.stage):
            current = self.read_commit(commit.stage, shard.index)
            if current is None or current.temporary != commit.temporary:
                return
            found = files.facts(temporary)
            if found and found.bytes == commit.bytes:
                with suppress(FileNotFoundError):  # storage knows no turns: another reader was faster
                    files.move(temporary, final)
                fault_points.passing("shard.renamed")
        if isinstance(final, ObjectPlace):
            now = self.read_commit(commit.stage, shard.index)
            if now and now.temporary != commit.temporary:
                self._roll_forward(now, shard)  # this one may have been copied over it

    def _turn(self, stage: StageName) -> AbstractContextManager[None]:
        """Let one process at a time change a stage's records in a folder; storage compares as it writes."""
        lock = self.internal / "commits" / f"{stage}.lock"
        return waiting_lock(lock) if isinstance(lock, Path) else nullcontext()

    @contextmanager
    def stage_file(self, stage: StageName, shard: Shard) -> Iterator[Path]:
        """Give a temporary path for a shard's file; on leaving, it is gone unless it was committed."""
        path = files.temporary_name(self.attempts / self.target(stage, shard).name)
        try:
            with files.scratch(path) as scratch:
                fault_points.passing("shard.begun")
                yield scratch
        finally:
            commit = self.read_commit(stage, shard.index)
            if commit is None or commit.temporary != path.name:
                files.delete(path)

    def next_generation(self, stage: StageName, shard: Shard) -> int:
        """Return the generation that work begun now will commit.

        Views whose record is lost take no number that data was made of: it would pass for made of them.
        """
        if previous := self.read_commit(stage, shard.index):
            return previous.generation + 1
        data = self.read_commit(CAPTION, shard.index) if stage == RENDER else None
        return data.rendered + 1 if data and data.rendered is not None else 0

    def commit(
        self,
        stage: StageName,
        shard: Shard,
        temporary: Path | None,
        *,
        generation: int | None = None,
        **facts: Any,
    ) -> Commit:
        """Make a shard's file part of the dataset.

        Args:
            temporary: the finished file from `stage_file`, or None where nothing survived.
            generation: `next_generation` as it was when the work began; None asks for it now.
            facts: further fields of `Commit`.

        Returns:
            The commit that counts: another attempt's, where that one was first.

        Raises:
            LockLostError: another driver has taken the dataset over.
        """
        fault_points.passing("shard.written")
        self.guard()
        previous = self.read_commit(stage, shard.index)
        if generation is None:
            generation = self.next_generation(stage, shard)
        if previous and previous.generation >= generation:
            return previous
        commit = Commit(
            stage,
            shard.index,
            generation=generation,
            **self._file_facts(stage, shard, temporary),
            **facts,
        )
        fault_points.passing("shard.synced")
        self.guard()  # an upload may have taken long
        while not self._record(commit):
            winner = self.read_commit(stage, shard.index)
            if winner and winner.generation >= generation:
                return winner
        fault_points.passing("shard.recorded")
        self._roll_forward(commit, shard)
        if previous and previous.file and commit.file is None:
            files.delete(self.target(stage, shard))
        fault_points.passing("shard.committed")
        return commit

    def amend(self, commit: Commit) -> Commit:
        """Write the record of a shard anew where its file stays as it is, and return it."""
        self.guard()
        with self._turn(commit.stage):
            files.write_json(self.commit_path(commit.stage, commit.shard), commit.to_json())
        return commit

    def _record(self, commit: Commit) -> bool:
        """Write a commit's record unless one as new or newer stands there; return whether it was written."""
        path, content = self.commit_path(commit.stage, commit.shard), files.json_bytes(commit.to_json())
        with self._turn(commit.stage):
            previous, version = self._read_record(commit.stage, commit.shard)
            if previous and previous.generation >= commit.generation:
                return False
            if version is None:
                return files.create_if_absent(path, content)
            return files.replace(path, content, version)

    def _file_facts(self, stage: StageName, shard: Shard, temporary: Path | None) -> dict[str, Any]:
        if temporary is None:
            return {}
        facts = files.publish(temporary, self.attempts / temporary.name)
        return {
            "file": self.name_of(self.target(stage, shard)),
            "temporary": temporary.name,
            "sha256": facts.sha256,
            "bytes": facts.bytes,
        }

    def clear_attempts(self) -> None:
        """Remove what killed runs left behind; only for the dataset's sole driver, after rolling forward.

        Raises:
            LockLostError: another driver has taken the dataset over, whose files these may be.
        """
        self.guard()
        files.discard_uploads(self.root)
        for path in files.list_files(self.root):
            if self.is_unfinished(path):
                files.delete(path)
            if path.parent == self.views and path.suffix == ".parquet" and path.stem.isdecimal():
                commit = self.read_commit(RENDER, int(path.stem))
                if commit and commit.dropped:
                    files.delete(path)

    def is_unfinished(self, path: Place) -> bool:
        """Tell whether a file is one that an attempt of ours has left; what it has committed is not there."""
        return path.name.startswith(files.TEMPORARY) and self._is_written_to(path.parent)

    def _is_written_to(self, folder: Place) -> bool:
        """Tell whether files are finished in a folder; what `broken` keeps has names like theirs."""
        beside = (self.root, self.samples_path.parent, self.root / "report" / "sheets")
        return folder in beside or (folder != self.broken and self.is_internal(folder))

    def digest(self, plan: Plan) -> str:
        """Hash the plan and what is committed of it: all that cards, sheets and summaries depend on."""
        digest = hashlib.sha256(files.json_bytes(plan.to_json()))
        for shard in plan.shards:
            for stage in STAGES:
                commit = self.read_commit(stage, shard.index)
                facts = (
                    (stage, shard.index, commit.sha256, commit.generation) if commit else (stage, shard.index)
                )
                digest.update(repr(facts).encode())
        return digest.hexdigest()

    def drop_views(self, shard: Shard) -> None:
        """Remove a shard's rendered views once the data file holds the same pictures."""
        with self._turn(RENDER):
            commit, version = self._read_record(RENDER, shard.index)
            if commit is None or version is None or commit.dropped or commit.file is None:
                return
            content = files.json_bytes(commit.to_json() | {"dropped": True, "temporary": None})
            if files.replace(self.commit_path(RENDER, shard.index), content, version):
                fault_points.passing("views.dropped")
                files.delete(self.target(RENDER, shard))
                fault_points.passing("views.removed")

    # rows

    def read_view_rows(self, shard: Shard, *, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield a rendered shard's rows, a table for each object, from the views or else from the data."""
        render = self.find_commit(RENDER, shard)
        if render is None:
            raise CorruptDatasetError(f"shard {shard.index} has not been rendered")
        holder = self.find_commit(CAPTION, shard) if render.dropped else render
        if holder is not None:
            yield from self.read_rows(holder, columns=columns)

    def read_rows(self, commit: Commit, *, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a committed file, a table for each object."""
        if commit.file is None:
            return
        with open_table(self.root / commit.file) as file:
            schema.check_version(file.schema_arrow, commit.file)
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns)

    def is_outdated(self, commit: Commit) -> bool:
        """Tell whether data was made of views that were rendered again since."""
        render = self.read_commit(RENDER, commit.shard)
        return render is not None and commit.rendered is not None and commit.rendered != render.generation


@contextmanager
def _refusal_suppressed() -> Iterator[None]:
    """Do without a change that this process has no right to make."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise


@contextmanager
def _damage_explained(path: Place, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into an error that says what to do."""
    try:
        yield
    except (pa.ArrowException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CorruptDatasetError(f"{path} is damaged: {reason}; {remedy}") from error
