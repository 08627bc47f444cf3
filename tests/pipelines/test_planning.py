"""Runs that contradict a dataset, or one another, are refused with every difference."""

import json
import shutil
import threading

import pytest
import yaml
from PIL import Image

from mvcap.commits import CAPTION, RENDER
from mvcap.errors import (
    ConfigChangedError,
    CorruptDatasetError,
    EmptyInputError,
    OutputError,
    UsageError,
)
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.planning import list_objects, saved_settings
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")


class Stopped(Exception):
    """Ends a run before it has committed anything."""


class StoppedRunner:
    def run(self, *_: object) -> None:
        raise Stopped


class WaitingRunner:
    """Runs as the local runner does once it is let go."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()

    def run(self, *arguments) -> None:
        self.started.set()
        assert self.go.wait(30)
        LocalRunner().run(*arguments)


def run(config, out, *, runner=None, say=lambda _: None, **request):
    return build(config, Request(out, **request), runner or LocalRunner(), say)


@pytest.fixture
def slice_at_work(models, fake_config, tmp_path):
    """Slice 0/2 of a build with 3 views, which has started and committed nothing yet."""
    runner, out = WaitingRunner(), tmp_path / "out"
    config = fake_config(models(*NAMES))
    thread = threading.Thread(target=run, args=(config, out), kwargs={"runner": runner, "part": (0, 2)})
    thread.start()
    assert runner.started.wait(30)
    yield out
    runner.go.set()
    thread.join(30)


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [("render__views", 4, "views: 3 -> 4"), ("captions__prompt", "X", "prompt: .* -> 'X'")],
)
def test_a_slice_with_other_settings_than_one_at_work_is_refused(
    slice_at_work, models, fake_config, setting, value, told
):
    other = fake_config(models(*NAMES), **{setting: value})
    with pytest.raises(ConfigChangedError, match=told) as refused:
        run(other, slice_at_work, part=(1, 2))
    assert "Another slice (process" in str(refused.value)
    assert saved_settings(Store(slice_at_work))["render"]["views"] == 3


def test_a_slice_with_the_same_settings_goes_on_beside_one_at_work(slice_at_work, models, fake_config):
    config = fake_config(models(*NAMES))
    assert run(config, slice_at_work, part=(1, 2)).views > 0


def test_slices_started_together_with_other_settings_never_mix(models, fake_config, tmp_path):
    folder, out, refused = models(*NAMES), tmp_path / "out", []

    def work(views: int, part: tuple[int, int]) -> None:
        config = fake_config(folder, render__views=views, render__options__view_seconds=0.02)
        try:
            run(config, out, part=part)
        except ConfigChangedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=work, args=(3 + k, (k, 2))) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1
    commits = [json.loads(path.read_bytes()) for path in (out / "_mvcap/commits/render").glob("*.json")]
    assert len({commit["settings"] for commit in commits}) == 1


@pytest.mark.parametrize("part", [None, (0, 2)])
def test_settings_may_change_while_nothing_is_committed_and_nobody_is_at_work(
    models, fake_config, tmp_path, part
):
    folder, out = models(*NAMES), tmp_path / "out"
    with pytest.raises(Stopped):
        run(fake_config(folder), out, runner=StoppedRunner(), part=part)
    run(fake_config(folder, render__views=4), out, part=(1, 2))
    run(fake_config(folder, render__views=4), out)
    assert verify_dataset(out) == []


def test_each_stage_records_its_own_settings_only(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder, captions__prompt="First."), out)
    run(fake_config(models("z/new"), captions__prompt="Unused."), out, caption=False)
    assert saved_settings(Store(out))["captions"]["prompt"] == "First."
    other = fake_config(folder, name="other", render__light="objaverse", captions__prompt="Second.")
    run(other, out, render=False, recaption=True)
    saved = saved_settings(Store(out))
    assert saved["captions"]["prompt"] == "Second."
    assert (saved["name"], saved["render"]["light"]) == ("custom", "studio")
    assert saved["sources"][0]["source"] == "folder"
    stages = yaml.safe_load((out / "_mvcap/config.yaml").read_bytes())["stages"]
    store = Store(out)
    assert stages == {stage: store.read_commit(stage, 0).settings for stage in (RENDER, CAPTION)}
    card = (out / "README.md").read_text()
    assert "# out\n" in card
    assert "studio" in card
    assert "objaverse" not in card
    assert "| prompt | Second. |" in card


def test_captioning_says_how_many_shards_are_not_rendered_yet(models, fake_config, tmp_path):
    config, out, said = fake_config(models(*NAMES)), tmp_path / "out", []
    run(config, out, caption=False, part=(0, 2))
    run(config, out, render=False, say=said.append)
    assert said == ["1 of 3 shards is not rendered yet; `mvcap render` renders them"]
    run(config, out, render=False, say=said.append)
    assert len(said) == 2


def test_changed_objects_are_named(models, fake_config, tmp_path):
    folder = models(*(f"things/{index}" for index in range(7)))
    run(fake_config(folder), tmp_path / "out")
    labels = "".join(f"things/{index}.obj,throne\n" for index in range(7))
    (folder / "labels.csv").write_text(f"path,category\n{labels}")
    with pytest.raises(ConfigChangedError, match=r"things/0\.obj: category: 'things' -> 'throne'") as refused:
        run(fake_config(folder), tmp_path / "out")
    assert "and 2 more objects" in str(refused.value)


def test_an_empty_folder_is_named_plainly(fake_config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyInputError) as refused:
        list_objects(fake_config(tmp_path / "empty"))
    found = f"0 objects: nothing was found by folder path {tmp_path / 'empty'}; folder takes .fbx, .glb, "
    assert str(refused.value).startswith(found)


def test_a_schema_that_no_setting_sets_back_is_explained(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    store = Store(out)
    commit = store.read_commit(RENDER, 0)
    older = store.settings(RENDER, commit.settings) | {"schema": 1}
    digest = store.remember_settings(RENDER, older)
    path = store.commit_path(RENDER, 0)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"settings": digest}))
    with pytest.raises(ConfigChangedError, match="into another folder with --out") as refused:
        run(config, out)
    assert "Set them back" not in str(refused.value)


def test_planned_objects_that_are_lost_and_no_longer_listed_are_named(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder), out)
    (out / "_mvcap/objects.parquet").unlink()
    (folder / "cups/c.obj").unlink()
    with pytest.raises(CorruptDatasetError, match="no longer name 1 of the plan's objects"):
        run(fake_config(folder), out)


def test_a_damaged_configuration_is_explained(models, fake_config, tmp_path):
    out = tmp_path / "out"
    run(fake_config(models(*NAMES)), out)
    (out / "_mvcap/config.yaml").write_bytes(b"config: [")
    with pytest.raises(CorruptDatasetError, match=r"config\.yaml is damaged: .*delete it"):
        saved_settings(Store(out))


def test_two_objects_of_one_uid_are_refused_with_both(fake_config, write_models, tmp_path):
    folders = [write_models(tmp_path / name, "chairs/a") for name in ("one", "two")]
    (folders[1] / "labels.csv").write_text("path,category\nchairs/a.obj,throne\n")
    sources = [{"source": "folder", "options": {"path": str(folder)}} for folder in folders]
    with pytest.raises(UsageError, match=r"two objects share the uid (?s:.)*chairs(?s:.)*throne"):
        list_objects(fake_config(folders[0], sources=sources))


def test_an_object_that_two_sources_list_alike_counts_once(fake_config, write_models, tmp_path):
    folder = write_models(tmp_path / "one", "chairs/a")
    source = {"source": "folder", "options": {"path": str(folder)}}
    assert len(list_objects(fake_config(folder, sources=[source, source])).objects) == 1


@pytest.mark.parametrize("place", ["", "cups/out"])
def test_a_dataset_is_not_begun_inside_what_it_reads(models, fake_config, place: str):
    folder = models(*NAMES)
    with pytest.raises(OutputError, match="which is read: choose a folder outside of it with --out"):
        run(fake_config(folder), folder / place)
    assert not (folder / place / "_mvcap").exists()


def test_a_dataset_is_not_begun_beside_rows_of_another(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    shutil.rmtree(out / "_mvcap")
    before = sorted((out / "data").iterdir())
    with pytest.raises(OutputError, match="holds files, and no dataset of mvcap that they are of"):
        run(fake_config(models("lamps/f", "lamps/g")), out)
    assert sorted((out / "data").iterdir()) == before


def test_an_object_whose_labelled_file_is_gone_is_there_and_no_failure(models, fake_config, tmp_path):
    folder, out = models("a", "b"), tmp_path / "out"
    (folder / "labels.csv").write_text("path,category\na.obj,chair\nb.obj,chair\nnever.obj,chair\n")
    assert len(run(fake_config(folder), out).failures) == 1
    (folder / "b.obj").unlink()
    outcome = run(fake_config(models("c")), out)
    assert (outcome.objects, outcome.done, len(outcome.failures)) == (4, 3, 1)


def test_one_of_models_that_was_begun_there_goes_on_and_one_of_pictures_does_not(
    models, fake_config, tmp_path
):
    folder = models(*NAMES)
    run(fake_config(folder), tmp_path / "out")
    (tmp_path / "out").rename(folder / "out")
    assert run(fake_config(folder), folder / "out").objects == len(NAMES)
    pictures = tmp_path / "pictures"
    (pictures / "cups").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(pictures / "cups/one.png")
    imported = fake_config(folder, sources=[{"source": "images", "options": {"path": str(pictures)}}])
    run(imported, tmp_path / "imported")
    (tmp_path / "imported").rename(pictures / "imported")
    with pytest.raises(OutputError, match="its own pictures would become objects; move it out"):
        run(imported, pictures / "imported")
