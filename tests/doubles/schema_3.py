"""Turn a finished dataset into what the mvcap that wrote schema 3 would have left.

That version looked for no near-duplicates: no portraits and labels in commit records, null in every row, no
such columns in `objects.parquet`. Nor did its records say which views the data was made of, when they were
committed and how long each object took; there was no list of what is kept out of training, none of what was
removed, and no page. `SCHEMA_VERSION` in `mvcap/schema.py` has the history.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mvcap import files, schema
from mvcap.commits import STAGES
from mvcap.storage import Store
from mvcap.tables import TableWriter

VERSION = 3
LATER_FIELDS = ("rendered", "duplicates", "committed_at", "object_seconds")
LATER_FILES = ("_mvcap/leaks.json", "_mvcap/removed.json", "report/index.html")
LATER_COLUMNS = ("duplicate_of", "duplicate_split")


def age(root: Path) -> Path:
    """Rewrite the dataset in a folder, and return it."""
    store = Store(root)
    plan = store.require_plan()
    hashes = {stage: age_settings(store, stage) for stage in STAGES}
    for shard in plan.shards:
        for stage in STAGES:
            age_commit(store, store.commit_path(stage, shard.index), hashes[stage])
    for name in LATER_FILES:
        (root / name).unlink(missing_ok=True)
    rewrite(root / "objects.parquet", dropped=LATER_COLUMNS)
    for path in (root / "failures.parquet", store.objects_path):
        rewrite(path)
    config = store.read_config()
    config["stages"] = {stage: new for stage, (_, new) in hashes.items()}
    files.write_bytes(store.config_path, yaml.safe_dump(config, sort_keys=False).encode())
    age_marker(store)
    return root


def age_settings(store: Store, stage: Any) -> tuple[str, str]:
    """Give a stage's settings the old version, and return both hashes."""
    (path,) = (store.internal / "settings").glob(f"{stage}-*.json")
    settings = json.loads(path.read_bytes()) | {"schema": VERSION}
    path.unlink()
    return path.stem.removeprefix(f"{stage}-"), store.remember_settings(stage, settings)


def age_commit(store: Store, path: Path, hashes: tuple[str, str]) -> None:
    record = json.loads(path.read_bytes())
    assert record["settings"] == hashes[0]
    record |= {"settings": hashes[1], "schema_version": VERSION}
    for name in LATER_FIELDS:
        del record[name]
    for facts in record["assets"].values():
        facts.pop("portrait", None)
    if record["file"] and not record["dropped"]:
        data = store.root / record["file"]
        rewrite(data)
        record |= {"sha256": files.sha256_of(data), "bytes": data.stat().st_size}
    files.write_json(path, record)


def rewrite(path: Path, *, dropped: tuple[str, ...] = ()) -> None:
    """Write a table with the old version in its metadata, a row group for each that it had."""
    with pq.ParquetFile(path) as file:
        groups = [
            file.read_row_group(group).drop_columns(list(dropped)) for group in range(file.num_row_groups)
        ]
        kind = file.schema_arrow
    columns = [field for field in kind if field.name not in dropped]
    features = {column.name: schema._feature(column.type) for column in columns}
    told = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "mvcap_schema": str(VERSION),
    }
    with TableWriter(path, pa.schema(columns, told)) as writer:
        for group in groups:
            assert "duplicate_of" not in group.schema.names or group["duplicate_of"].null_count == len(group)
            writer.write_table(group.replace_schema_metadata(told))


def age_marker(store: Store) -> None:
    """Let the marker of a finished build stand for the files as they are now, in the words of its time."""
    path = store.internal / "finished.json"
    content = json.loads(path.read_bytes())
    written = {name: files.sha256_of(store.root / name) for name in content["files"]}
    commits = store.digest(store.require_plan())
    sheets = content["sheets"]
    files.write_json(path, {"commits": commits, "control": None, "files": written, "sheets": sheets})


if __name__ == "__main__":
    print(age(Path(sys.argv[1])))
