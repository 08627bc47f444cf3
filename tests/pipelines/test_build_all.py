"""The whole pipeline on the local runner, with the fake renderer and captioner: seconds, no Blender."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap.commits import CAPTION, RENDER
from mvcap.errors import ConfigChangedError, DatasetLockedError, EmptyInputError, NothingSurvivedError
from mvcap.locks import dataset_lock
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")


def run(config, out, **request):
    return build(
        config, Request(out, **request), LocalRunner(drop_views=not config.run.keep_views), lambda _: None
    )


def rows(out: Path) -> list[dict]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return [row for table in tables for row in table]


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a dataset with its modification time."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_every_object_becomes_views_that_name_its_category(models, fake_config, tmp_path):
    out = tmp_path / "out"
    outcome = run(fake_config(models(*NAMES)), out)
    assert (outcome.objects, outcome.done, outcome.views, outcome.complete) == (5, 5, 15, True)
    assert len({(row["uid"], row["view_index"]) for row in rows(out)}) == 15
    assert {row["category"] for row in rows(out)} == {"chairs", "cups", "lamps"}
    assert all(row["category"] in row["caption"] and row["category"] in row["prompt"] for row in rows(out))
    assert verify_dataset(out) == []


def test_extras_are_stored_beside_the_pictures_and_outlive_captioning(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), render__extras="[mask, depth, normals]")
    run(config, tmp_path / "out")
    for row in rows(tmp_path / "out"):
        assert row["caption"]
        with (
            Image.open(BytesIO(row["mask"]["bytes"])) as mask,
            Image.open(BytesIO(row["depth"]["bytes"])) as z,
        ):
            steps, alpha = np.asarray(z, dtype=float), np.asarray(mask)
        assert ((steps > 0) == (alpha > 0)).all()
        nearest = steps[steps > 0].min() * row["depth_scale"]
        assert row["distance"] - 0.87 < nearest < row["distance"]
        assert row["normals"]["bytes"].startswith(b"\x89PNG")


def test_views_are_dropped_once_captioned_and_kept_on_demand(models, fake_config, tmp_path):
    folder = models(*NAMES)
    run(fake_config(folder), tmp_path / "dropped")
    run(fake_config(folder, run__keep_views="true"), tmp_path / "kept")
    assert not list((tmp_path / "dropped/_mvcap/views").glob("*"))
    assert len(list((tmp_path / "kept/_mvcap/views").glob("*.parquet"))) == 3


def test_a_finished_build_writes_nothing(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    before = contents(out)
    run(config, out)
    assert contents(out) == before


def test_failed_objects_are_named_and_the_others_complete(models, fake_config, tmp_path):
    out = tmp_path / "out"
    outcome = run(fake_config(models(*NAMES), render__options__fail="{cups: crash}"), out)
    assert [(failure.reason, failure.stage) for failure in outcome.failures] == [("crash", "render")] * 2
    assert outcome.done == 3
    failures = pq.read_table(out / "failures.parquet").to_pylist()
    assert {row["reason"] for row in failures} == {"crash"}
    status = {row["source_id"]: row["status"] for row in pq.read_table(out / "objects.parquet").to_pylist()}
    assert status == {f"{name}.obj": "failed" if "cups" in name else "done" for name in NAMES}


def test_failed_objects_are_not_tried_again(models, fake_config, tmp_path):
    out, folder = tmp_path / "out", models(*NAMES)
    run(fake_config(folder, render__options__fail="{cups: crash}"), out)
    before = contents(out)
    again = run(fake_config(folder, render__options__fail="{cups: crash}"), out)
    assert len(again.failures) == 2
    assert contents(out) == before


def test_nothing_surviving_is_an_error_that_counts_the_reasons(models, fake_config, tmp_path):
    with pytest.raises(
        NothingSurvivedError, match=r"(?s)5 x timeout\nthe first, folder-\S+: .*failures.parquet"
    ):
        run(fake_config(models(*NAMES), render__options__fail="{obj: timeout}"), tmp_path / "out")


def test_a_view_without_a_caption_is_a_failure_and_its_render_is_kept(models, fake_config, tmp_path):
    out = tmp_path / "out"
    outcome = run(fake_config(models(*NAMES), captions__options__empty_for="[lamps]"), out)
    assert {(failure.reason, failure.view_index) for failure in outcome.failures} == {
        ("empty_caption", view) for view in range(3)
    }
    assert outcome.views == 12
    assert len(list((out / "_mvcap/views").glob("*.parquet"))) == 1


def test_no_objects_is_refused_before_anything_is_written(models, fake_config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyInputError, match="0 objects"):
        run(fake_config(tmp_path / "empty"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rendering_alone_leaves_null_captions_that_captioning_fills(models, fake_config, tmp_path):
    out, config = tmp_path / "out", fake_config(models(*NAMES))
    run(config, out, caption=False)
    rendered = rows(out)
    assert [row["caption"] for row in rendered] == [None] * 15
    run(config, out, render=False)
    captioned = rows(out)
    assert all(row["caption"] for row in captioned)
    assert [row["image"] for row in captioned] == [row["image"] for row in rendered]
    assert [row["camera_to_world"] for row in captioned] == [row["camera_to_world"] for row in rendered]
    assert verify_dataset(out) == []


def test_rendering_again_never_removes_captions(models, fake_config, tmp_path):
    out, config = tmp_path / "out", fake_config(models(*NAMES))
    run(config, out)
    before = contents(out)
    run(config, out, caption=False)
    assert contents(out) == before


def test_captioning_in_slices_equals_captioning_at_once(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES))
    run(config, tmp_path / "whole")
    run(config, tmp_path / "sliced", caption=False)
    for part in range(3):
        run(config, tmp_path / "sliced", render=False, part=(part, 3))
    assert rows(tmp_path / "sliced") == rows(tmp_path / "whole")
    assert verify_dataset(tmp_path / "sliced") == []


def test_a_slice_leaves_finishing_to_the_one_that_is_still_at_work(models, fake_config, tmp_path):
    out, config = tmp_path / "out", fake_config(models(*NAMES))
    run(config, out, caption=False)
    card = (out / "README.md").read_bytes()
    with dataset_lock(out / "_mvcap", (0, 2)) as held:
        held.announce(settings={})
        assert not run(config, out, render=False, part=(1, 2)).complete
        assert (out / "README.md").read_bytes() == card
    assert run(config, out, render=False, part=(0, 2)).complete
    assert (out / "README.md").read_bytes() != card


def test_no_old_sheet_stands_beside_new_captions_for_another_slice_to_read(
    models, fake_config, tmp_path, monkeypatch
):
    config = fake_config(models(*NAMES))
    run(config, tmp_path / "out", caption=False)
    commit, old_sheets = Store.commit, []

    def commit_and_look(store, stage, shard, *arguments, **facts):
        made = commit(store, stage, shard, *arguments, **facts)
        old_sheets.append(store.sheet_path(shard).exists())
        return made

    assert len(list((tmp_path / "out/report/sheets").iterdir())) == 3
    monkeypatch.setattr(Store, "commit", commit_and_look)
    run(config, tmp_path / "out", render=False, part=(0, 1))
    assert old_sheets == [False, False, False]


def test_changed_render_settings_are_refused_field_by_field(models, fake_config, tmp_path):
    folder = models(*NAMES)
    run(fake_config(folder), tmp_path / "out")
    with pytest.raises(ConfigChangedError) as refused:
        run(fake_config(folder, render__views=4, render__light="objaverse"), tmp_path / "out")
    assert "views: 3 -> 4" in str(refused.value)
    assert "light: 'studio' -> 'objaverse'" in str(refused.value)


def test_views_stand_before_pictures_that_their_rows_name(models, fake_config, tmp_path, pictures):
    config, out = fake_config(models(*NAMES), render__backgrounds=pictures), tmp_path / "out"
    run(config, out)
    assert {row["background"] for row in rows(out)} == {f"{shade}.png" for shade in range(4)}
    assert all(row["caption"] for row in rows(out))
    run(config, tmp_path / "apart", caption=False)
    run(config, tmp_path / "apart", render=False)
    assert rows(tmp_path / "apart") == rows(out)


def test_a_changed_folder_of_backgrounds_is_refused_and_a_moved_one_is_not(
    models, fake_config, tmp_path, pictures
):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder, render__backgrounds=pictures), out)
    moved = pictures.rename(tmp_path / "moved")
    run(fake_config(folder, render__backgrounds=moved), out)
    Image.new("RGB", (40, 30), (255, 0, 0)).save(moved / "3.png")
    with pytest.raises(ConfigChangedError, match=r"backgrounds\.sha256: '\w+' -> '\w+'"):
        run(fake_config(folder, render__backgrounds=moved), out)


def test_rows_tell_the_renderer_and_the_asset_they_were_made_from(models, fake_config, tmp_path):
    out, folder = tmp_path / "out", models(*NAMES)
    run(fake_config(folder), out)
    assets = {f"{name}.obj": (folder / f"{name}.obj").read_bytes() for name in NAMES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in assets.items()}
    assert {(row["source_id"], row["asset_sha256"]) for row in rows(out)} == set(digests.items())
    assert {row["renderer"] for row in rows(out)} == {"fake 1"}


def test_operational_settings_may_change(models, fake_config, tmp_path):
    folder = models(*NAMES)
    run(fake_config(folder), tmp_path / "out")
    run(fake_config(folder, run__render_workers=2, captions__batch_size=1), tmp_path / "out")


def test_changed_captions_are_refused_unless_asked_for_and_keep_the_renders(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder), out)
    first = rows(out)
    other = fake_config(folder, captions__prompt="'A picture that is a {category}.'")
    with pytest.raises(ConfigChangedError, match="--recaption"):
        run(other, out)
    run(other, out, render=False, recaption=True)
    second = rows(out)
    assert {row["prompt"] for row in second}.isdisjoint({row["prompt"] for row in first})
    assert [row["image"] for row in second] == [row["image"] for row in first]
    assert verify_dataset(out) == []


def test_more_objects_append_shards_and_leave_the_old_ones(models, fake_config, tmp_path):
    out = tmp_path / "out"
    run(fake_config(models(*NAMES)), out)
    old = {path.name: path.read_bytes() for path in (out / "data").glob("*.parquet")}
    outcome = run(fake_config(models("z/new")), out)
    assert outcome.views == 18
    new = {path.name: path.read_bytes() for path in (out / "data").glob("*.parquet")}
    assert old.items() < new.items()
    assert verify_dataset(out) == []


def test_a_changed_category_of_a_planned_object_is_refused(models, fake_config, tmp_path):
    folder = models(*NAMES)
    run(fake_config(folder), tmp_path / "out")
    (folder / "labels.csv").write_text("path,category\nchairs/a.obj,throne\n")
    with pytest.raises(ConfigChangedError, match="category: 'chairs' -> 'throne'"):
        run(fake_config(folder), tmp_path / "out")


def test_a_broken_shard_alone_is_made_anew(models, fake_config, tmp_path):
    out, config = tmp_path / "out", fake_config(models(*NAMES))
    run(config, out)
    before, victim = rows(out), sorted((out / "data").glob("*.parquet"))[1]
    flipped = bytearray(victim.read_bytes())
    flipped[len(flipped) // 3] ^= 1
    victim.write_bytes(flipped)
    assert [problem.shard.index for problem in verify_dataset(out) if problem.shard] == [1]
    others = {path: path.stat().st_mtime_ns for path in (out / "data").glob("*.parquet")}
    assert not run(config, out).failures
    assert rows(out) == before
    assert victim not in others
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert verify_dataset(out) == []


def test_a_second_driver_is_refused_with_the_first_ones_pid(models, fake_config, tmp_path):
    with dataset_lock(tmp_path / "out/_mvcap") as held:
        held.announce()
        with pytest.raises(DatasetLockedError, match="is in use by process"):
            run(fake_config(models(*NAMES)), tmp_path / "out")


def test_commits_tell_who_made_what(models, fake_config, tmp_path):
    run(fake_config(models(*NAMES)), tmp_path / "out")
    store = Store(tmp_path / "out")
    shard = store.require_plan().shards[0]
    assert store.read_commit(RENDER, shard.index).made_by["name"] == "fake"
    captioner = store.read_commit(CAPTION, shard.index).made_by
    assert captioner["backend"] == "fake"
    assert captioner["prompt"] == fake_config(models(*NAMES)).captions.prompt


DRIVER = """
import json, sys
from pathlib import Path
from mvcap import plugins, recipes
from pipelines.build_all import build
from pipelines.todo import Request
from pipelines.runners.local import LocalRunner
config = recipes.build_config(json.loads(sys.argv[1]), plugins.options_model)
build(config, Request(Path(sys.argv[2])), LocalRunner(), lambda _: None)
"""


@pytest.mark.slow
def test_a_build_killed_at_any_time_ends_like_an_undisturbed_one(models, fake_config, tmp_path):
    folder = models(*(f"things/{index:02d}" for index in range(12)))
    settings = fake_config(folder, render__options__view_seconds=0.02).model_dump(mode="json")
    run(fake_config(folder), tmp_path / "undisturbed")
    out = tmp_path / "killed"
    for commits in (1, 4, 8):
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, json.dumps(settings), str(out)])
        deadline = time.monotonic() + 60
        while len(list(out.glob("_mvcap/commits/*/*.json"))) < commits and driver.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    run(fake_config(folder), out)
    assert rows(out) == rows(tmp_path / "undisturbed")
    assert verify_dataset(out) == []
