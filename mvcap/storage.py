"""A dataset's folder: where everything lies, and how a shard becomes part of it.

A shard's file is written under a temporary name; then its commit record is created, which names that
file and its checksum; then the file takes its final name. Only the winner of the commit record renames,
so two attempts at a shard cannot mix, and a crash between the two steps is rolled forward by the next
reader. A file without a commit record does not exist.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mvcap import fault_points, files, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.config import settings_hash
from mvcap.errors import CorruptDatasetError, OutputError
from mvcap.leaks import Leaks
from mvcap.locks import waiting_lock
from mvcap.plan import Plan, Shard
from mvcap.records import Rejected, SelectedObject
from mvcap.tables import TableWriter, open_table, read_table

INTERNAL = "_mvcap"

PLAN_REMEDY = "delete it and run the same build again with its sources"
CONFIG_REMEDY = "delete it and run the same build again with its configuration"
SETTINGS_REMEDY = "delete it and run again with the same settings, which writes it anew"


class Store:
    """The files of one dataset.

    Args:
        root: the dataset's folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    # places

    @property
    def internal(self) -> Path:
        return self.root / INTERNAL

    @property
    def attempts(self) -> Path:
        """Where files lie that are not committed; never beside the data, where readers would find them."""
        return self.internal / "attempts"

    @property
    def broken(self) -> Path:
        """Where files lie that contradict their commit records, for whoever wants to know why."""
        return self.internal / "broken"

    @property
    def views(self) -> Path:
        """Where rendered shards lie until they are captioned."""
        return self.internal / "views"

    def target(self, stage: StageName, shard: Shard) -> Path:
        """Where a stage's file of a shard lies."""
        if stage == RENDER:
            return self.views / f"{shard.index:05d}.parquet"
        return self.root / "data" / shard.file_name

    def commit_path(self, stage: StageName, index: int) -> Path:
        return self.internal / "commits" / stage / f"{index:05d}.json"

    def sheet_path(self, shard: Shard) -> Path:
        return self.root / "report" / "sheets" / f"{Path(shard.file_name).stem}.png"

    @property
    def samples_path(self) -> Path:
        return self.root / "report" / "samples.png"

    @property
    def objects_path(self) -> Path:
        return self.internal / "objects.parquet"

    @property
    def listing_failures_path(self) -> Path:
        return self.internal / "listing_failures.json"

    @property
    def leaks_path(self) -> Path:
        return self.internal / "leaks.json"

    @property
    def config_path(self) -> Path:
        return self.internal / "config.yaml"

    def settings_path(self, stage: StageName, digest: str) -> Path:
        return self.internal / "settings" / f"{stage}-{digest}.json"

    # plan

    def read_plan(self) -> Plan | None:
        """Read the plan, or None where the folder holds no dataset yet.

        Raises:
            CorruptDatasetError: the plan is damaged.
        """
        path = self.internal / "plan.json"
        if not files.exists(path):
            return None
        try:
            return Plan.from_json(json.loads(files.read_bytes(path)))
        except ValueError as error:
            raise CorruptDatasetError(f"{path} is damaged: {error}") from error

    def require_plan(self) -> Plan:
        """Read the plan of a dataset that must exist.

        Raises:
            OutputError: the folder holds no dataset.
        """
        if plan := self.read_plan():
            return plan
        raise OutputError(f"{self.root} is not a dataset of mvcap: it has no {INTERNAL}/plan.json")

    def write_plan(
        self,
        plan: Plan,
        objects: Iterable[SelectedObject],
        listing_failures: Iterable[Rejected],
        leaks: Leaks | None = None,
    ) -> None:
        """Store the plan and what it is about; the plan itself comes last and makes the rest count."""
        by_uid = {item.uid: item for item in objects}
        with (
            files.staged(self.objects_path) as path,
            TableWriter(path, schema.PLANNED_SCHEMA) as writer,
        ):
            for shard in plan.shards:
                writer.write([schema.planned_row(by_uid[uid], shard.index) for uid in shard.uids])
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
            return [schema.planned_from_row(row) for row in rows]

    def read_leaks(self) -> Leaks:
        """Read what the plan keeps out of training; nothing where an older version made it.

        Raises:
            CorruptDatasetError: the record is damaged.
        """
        if not files.exists(self.leaks_path):
            return Leaks()
        with _damage_explained(self.leaks_path, PLAN_REMEDY):
            return Leaks.from_json(json.loads(files.read_bytes(self.leaks_path)))

    # configuration

    def read_config(self) -> dict[str, Any] | None:
        """Read the recorded configuration and its hash for each stage, or None where there is none.

        Raises:
            CorruptDatasetError: it is damaged.
        """
        if not files.exists(self.config_path):
            return None
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

    def read_commit(self, stage: StageName, index: int) -> Commit | None:
        """Read a commit record as it stands, whatever became of its file."""
        try:
            return Commit.from_json(json.loads(files.read_bytes(self.commit_path(stage, index))))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # a damaged record proves nothing: the shard is done again

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
        self._roll_forward(commit, shard)
        path = self.target(stage, shard)
        whole = files.size(path) == commit.bytes
        return commit if whole and path == self.root / commit.file else None

    def _roll_forward(self, commit: Commit, shard: Shard) -> None:
        """Give a committed file its final name, unless another commit has replaced it meanwhile."""
        temporary = self.attempts / Path(commit.temporary or "").name
        if commit.temporary is None or not files.exists(temporary):
            return
        final = self.target(commit.stage, shard)
        with waiting_lock(self.internal / "commits" / f"{commit.stage}.lock"):
            current = self.read_commit(commit.stage, shard.index)
            if current is None or current.temporary != commit.temporary:
                return
            if files.size(temporary) == commit.bytes:
                files.move(temporary, final)
                fault_points.passing("shard.renamed")

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
        """Return the generation that work begun now will commit."""
        previous = self.read_commit(stage, shard.index)
        return previous.generation + 1 if previous else 0

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
        """
        fault_points.passing("shard.written")
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
        path, content = self.commit_path(stage, shard.index), files.json_bytes(commit.to_json())
        if previous:
            files.write_bytes(path, content)
        elif not files.create_if_absent(path, content):
            if winner := self.read_commit(stage, shard.index):
                return winner
            files.write_bytes(path, content)  # what stands there is damaged and proves nothing
        fault_points.passing("shard.recorded")
        self._roll_forward(commit, shard)
        fault_points.passing("shard.committed")
        return commit

    def _file_facts(self, stage: StageName, shard: Shard, temporary: Path | None) -> dict[str, Any]:
        if temporary is None:
            return {}
        files.publish(temporary, self.attempts / temporary.name)
        return {
            "file": str(self.target(stage, shard).relative_to(self.root)),
            "temporary": temporary.name,
            "sha256": files.sha256_of(temporary),
            "bytes": temporary.stat().st_size,
        }

    def clear_attempts(self) -> None:
        """Remove what killed runs left behind; only for the dataset's sole driver, after rolling forward."""
        for path in files.list_files(self.root):
            if path.name.startswith(files.TEMPORARY) and self._is_written_to(path.parent):
                files.delete(path)
            if path.parent == self.views and path.suffix == ".parquet" and path.stem.isdecimal():
                commit = self.read_commit(RENDER, int(path.stem))
                if commit and commit.dropped:
                    files.delete(path)

    def _is_written_to(self, folder: Path) -> bool:
        """Tell whether files are finished in a folder; what `broken` keeps has names like theirs."""
        beside = (self.root, self.samples_path.parent, self.root / "report" / "sheets")
        return folder in beside or (folder.is_relative_to(self.internal) and folder != self.broken)

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
        commit = self.read_commit(RENDER, shard.index)
        if commit is None or commit.dropped or commit.file is None:
            return
        files.write_json(
            self.commit_path(RENDER, shard.index), commit.to_json() | {"dropped": True, "temporary": None}
        )
        fault_points.passing("views.dropped")
        files.delete(self.target(RENDER, shard))
        fault_points.passing("views.removed")

    # rows

    def read_view_rows(self, shard: Shard) -> Iterator[pa.Table]:
        """Yield a rendered shard's rows, a table for each object, from the views or else from the data."""
        render = self.find_commit(RENDER, shard)
        if render is None:
            raise CorruptDatasetError(f"shard {shard.index} has not been rendered")
        holder = self.find_commit(CAPTION, shard) if render.dropped else render
        if holder is None or holder.file is None:
            return
        with open_table(self.root / holder.file) as file:
            schema.check_version(file.schema_arrow, holder.file)
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)


@contextmanager
def _damage_explained(path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into an error that says what to do."""
    try:
        yield
    except (pa.ArrowException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CorruptDatasetError(f"{path} is damaged: {reason}; {remedy}") from error
