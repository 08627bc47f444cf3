"""The same pixels, however the work is cut, ordered, spread and bound: through the command and Blender."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from trimesh import creation

pytestmark = [pytest.mark.blender, pytest.mark.slow]

SHAPES = {
    "ball": creation.icosphere(),
    "box": creation.box((1, 2, 3)),
    "cone": creation.cone(1, 2),
    "ring": creation.annulus(1, 2, 1),
}
PICTURES = ("--views", "3", "--resolution", "64", "--preset", "physical")
ALONE = ("plan.objects_per_shard=8", "run.render_workers=1", "render.options.bind_cores=false")
"""One child with all threads renders everything in one shard."""
SPREAD = (
    *("plan.objects_per_shard=1", "run.render_workers=2"),
    *("render.options.recycle_after=1", "render.options.bind_cores=true"),
)
"""Two children, each bound to a core, take a shard an object, and are replaced after each."""


def pictures(out: Path) -> dict[tuple[str, int], str]:
    rows = pq.read_table(out / "data", columns=["uid", "view_index", "image"]).to_pylist()
    return {
        (row["uid"], row["view_index"]): hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in rows
    }


@pytest.mark.timeout(240)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_pictures_do_not_depend_on_shards_workers_threads_or_the_age_of_a_child(
    mvcap: Callable, tmp_path: Path
):
    folder, made = tmp_path / "models", []
    folder.mkdir()
    for name, shape in SHAPES.items():
        shape.export(folder / f"{name}.glb")
    for name, settings in {"alone": ALONE, "spread": SPREAD}.items():
        out = tmp_path / name
        changes = [part for setting in settings for part in ("--set", setting)]
        done = mvcap("render", "--models", folder, "--out", out, "--runner", "local", *PICTURES, *changes)
        assert done.returncode == 0, done.stderr
        made.append(pictures(out))
    assert len(made[0]) == len(SHAPES) * 3
    assert made[0] == made[1]
