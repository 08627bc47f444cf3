"""What a recipe takes, counted and computed without a network and without starting any work."""

import socket
from pathlib import Path

import pytest

from mvcap.config import ExpectedCounts
from mvcap.storage import Store
from pipelines import rates
from pipelines.build_all import build
from pipelines.counting import count_source
from pipelines.doctor import Finding
from pipelines.estimating import Estimate, Work, estimate
from pipelines.missing import find_missing
from pipelines.plan_report import describe_plan
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d")
EXPECTED = ExpectedCounts(objects=1000, views_per_object=31.5, bytes_per_view=2e5)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a plan needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder_config(models, fake_config):
    def make(*names: str, **changes):
        changes = {"render__backend": "blender", "render__resolution": 512, "render__views": 10} | changes
        config = fake_config(models(*(names or NAMES)), **changes)
        return config

    return make


def expecting(config, path: Path, counts: ExpectedCounts | None, source: str = "folder"):
    """Point a configuration at a folder that is not there."""
    section = config.sources[0].model_copy(update={"source": source, "expected": counts})
    options = section.options.model_copy(update={"path": path})
    return config.model_copy(update={"sources": [section.model_copy(update={"options": options})]})


# counts


def test_what_is_here_is_counted_and_what_the_recipe_expects_does_not_matter(folder_config):
    config = folder_config()
    section = config.sources[0].model_copy(update={"expected": EXPECTED})
    count = count_source(section, config)
    assert (count.how, count.objects, count.views, count.problem) == ("counted", 4, 40, None)


def test_what_is_not_here_is_expected_and_the_reason_told(folder_config, tmp_path):
    config = expecting(folder_config(), tmp_path / "none", EXPECTED)
    count = count_source(config.sources[0], config)
    assert (count.how, count.objects, count.views, count.picture_bytes) == ("expected", 1000, 31_500, 6.3e9)
    assert "there is no folder" in (count.problem or "")


def test_without_an_expectation_nothing_is_made_up(folder_config, tmp_path):
    config = expecting(folder_config(), tmp_path / "none", None)
    found = estimate(config, None)
    assert [(source.how, source.objects, source.views) for source in found.sources] == [
        ("unknown", None, None)
    ]
    assert [(work.stage, work.views, work.hours) for work in found.work] == [
        ("render", None, None),
        ("caption", None, None),
    ]
    assert "unknown" in describe_plan(found, [])


def test_objects_without_a_number_of_views_get_those_of_the_renderer(folder_config, tmp_path):
    config = expecting(folder_config(), tmp_path / "none", ExpectedCounts(objects=7))
    assert count_source(config.sources[0], config).views == 70


def test_pictures_are_counted_with_their_bytes_and_are_not_rendered(pictures, fake_config, tmp_path):
    (tmp_path / "photos").mkdir()
    photos = pictures.rename(tmp_path / "photos" / "blue").parent
    config = fake_config(photos, sources__0__source="images", sources__0__options__path=photos)
    found = estimate(config, None)
    assert (found.objects, found.views) == (4, 4)
    assert found.bytes == sum(path.stat().st_size for path in (photos / "blue").iterdir())
    assert [work.stage for work in found.work] == ["import", "caption"]


# hours and bytes


def test_hours_are_those_of_objects_and_views_at_the_measured_rate(folder_config, tmp_path):
    config = expecting(folder_config(), tmp_path / "none", ExpectedCounts(objects=3600))
    (render, caption) = estimate(config, None).work
    measured = rates.RENDERED["physical"][512]
    assert render.hours == pytest.approx(measured.per_object_s + 10 * measured.per_view_s)
    assert render.device == "CPU"
    assert rates.COMMAND in render.basis
    assert (caption.hours, caption.device) == (None, "unknown")
    assert estimate(config, None).bytes == pytest.approx(36_000 * measured.bytes_per_view)


@pytest.mark.parametrize("preset", sorted(rates.RENDERED))
def test_rates_between_and_beyond_the_measured_sizes_grow_with_the_area(preset: str):
    costs = [rates.rendering_rate(preset, size).per_view_s for size in (64, 128, 224, 336, 512, 1024)]
    assert costs == sorted(costs)
    assert costs[0] > 0
    assert costs[2] == rates.RENDERED[preset][224].per_view_s
    assert costs[4] == pytest.approx(rates.RENDERED[preset][512].per_view_s)


@pytest.mark.parametrize(
    "change", [{"render__preset": "reference"}, {"render__device": "optix"}, {"render__backend": "fake"}]
)
def test_what_nobody_measured_is_said_to_be_unknown(folder_config, change):
    found = estimate(folder_config(**change), None)
    assert (found.work[0].hours, found.work[0].device) == (None, "unknown")
    assert found.work[0].basis.startswith("not measured: ")
    assert "--out" in found.work[0].basis
    text = describe_plan(found, [])
    assert text.split("\n")[5].split()[3:5] == ["unknown", "unknown"]


def test_other_samples_than_the_presets_own_are_told(folder_config):
    assert "not 5" in estimate(folder_config(render__samples=5), None).work[0].basis


def test_a_dataset_tells_its_own_rates_and_what_is_done(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    config = fake_config(folder, render__options__view_seconds=0.05)
    build(config, Request(out), LocalRunner(), lambda _: None)
    models("cups/e", "cups/f")
    found = estimate(config, Store(out))
    render, caption = found.work
    assert (render.views, render.done) == (caption.views, caption.done) == (18, 12)
    assert render.seconds_per_view == pytest.approx(0.05, rel=0.9)
    assert render.seconds_per_view > 0.05
    assert render.hours == pytest.approx(6 * render.seconds_per_view / 3600)
    assert str(out) in render.basis
    data = sum(path.stat().st_size for path in (out / "data").iterdir())
    assert found.bytes == pytest.approx(18 * data / 12)
    assert estimate(config, Store(tmp_path / "none")).work[0].hours is None


def test_shards_of_other_settings_tell_nothing_of_the_rates(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    build(fake_config(folder), Request(out), LocalRunner(), lambda _: None)
    found = estimate(fake_config(folder, render__resolution=64), Store(out))
    assert found.work[0].hours is None
    assert found.work[1].hours == 0  # all is captioned, by the same captioner


# what is said


def test_a_plan_in_words_adds_up_and_says_what_is_missing():
    work = (
        Work("render", 2_000_000, 0, 480.0, "CPU", 0.9, "measured here"),
        Work("caption", 2_000_000, 500_000, 25.0, "GPU", 0.06, "measured there"),
    )
    found = Estimate("big", (), work, 1.5e12, ("im3d",))
    text = describe_plan(found, [Finding("captioner", False, "no such model", "fetch it")])
    assert "render   2,000,000        0     480 h         -  0.9 s a view" in text
    assert "caption  2,000,000  500,000         -      25 h  0.06 s a view" in text
    assert "measured there" in text
    assert "disk: 1,500 GB, and the pictures of im3d, whose sizes are unknown" in text
    assert "FAIL captioner" in text


def test_what_is_missing_is_found_without_fetching(folder_config, tmp_path):
    config = folder_config(
        captions__backend="instructblip",
        captions__options__model=tmp_path / "nowhere",
        render__blender=tmp_path / "no-blender",
    )
    config = expecting(config, tmp_path / "none", ExpectedCounts(objects=10**9))
    findings = {finding.name: finding for finding in find_missing(config, estimate(config, None), tmp_path)}
    assert {name for name, finding in findings.items() if not finding.fine} == {
        *("folder", "renderer", "captioner", "disk")
    }
    assert "there is no folder" in findings["folder"].detail
    assert str(tmp_path) in findings["captioner"].detail
    assert "captions.options.model" in findings["captioner"].remedy


def test_a_served_captioner_is_not_asked(folder_config, tmp_path):
    config = folder_config(
        render__backend="fake",
        captions__backend="openai",
        captions__options__model="qwen",
        captions__options__base_url="http://localhost:1/v1",
    )
    findings = {finding.name: finding for finding in find_missing(config, estimate(config, None), tmp_path)}
    assert findings["captioner"].fine
    assert "not asked" in findings["captioner"].detail
