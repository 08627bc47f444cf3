"""One `mvcap render` of every furniture model there is: it ends by itself, and every model is accounted for.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_every_model.py

Its dataset stays in mvcap's cache, with contact sheets to look at.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mvcap.files import cache_folder
from mvcap.records import SelectedObject
from mvcap.sources import sh3f

VIEWS = 8
SETTINGS = ("sources=[{source: sh3f, options: {selection: all}}]", "plan.objects_per_shard=60")
PARTIAL = 3


def test_one_run_accounts_for_every_model(capsys):
    if not sh3f.default_library().exists():
        pytest.skip("the furniture is not here: python -m mvcap.sources.sh3f.fetch")
    listed = list(sh3f.list_objects(sh3f.Options(selection="all")))
    models = [item for item in listed if isinstance(item, SelectedObject)]
    out = cache_folder() / "soak" / "every-model"
    command = [Path(sys.executable).with_name("mvcap"), "render", "--out", out]
    command += ["--views", str(VIEWS), "--resolution", "224", "--preset", "fast", "--runner", "local"]
    command += [part for setting in SETTINGS for part in ("--set", setting)]
    done = subprocess.run(command, check=False)
    rows = pq.read_table(out / "objects.parquet").to_pylist()
    failures = pq.read_table(out / "failures.parquet").to_pylist()
    with capsys.disabled():
        print(f"\n{Counter(row['status'] for row in rows)} of {len(models)} models")
        for failure in failures:
            print(f"{failure['uid']} view {failure['view_index']}: {failure['reason']}: {failure['message']}")
    assert len(models) == len(listed)
    assert done.returncode in (0, PARTIAL)
    assert {row["uid"] for row in rows} == {item.uid for item in models}
    assert all(row["status"] != "pending" for row in rows)
    assert {row["uid"] for row in rows if not row["views"]} <= {failure["uid"] for failure in failures}
