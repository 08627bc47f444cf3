"""One object in: its views, or exactly one rejection."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER, OOM, UnknownNameError
from mvcap.records import AssetFacts, ObjectRecord, Rejected, SelectedObject, View
from render.backends import fake
from render.backgrounds import Backgrounds
from render.job import RenderedView, RenderFailed, RenderJob
from render.stage import render_objects

SETTINGS = {
    "seed": 5,
    "views": 3,
    "resolution": 64,
    "preset": "physical",
    "samples": None,
    "light": "studio",
    "view_transform": "Standard",
    "device": "auto",
    "background": "#00ff00",
    "backgrounds": None,
    "lens_mm": 35.0,
    "sensor_mm": 32.0,
    "law": "hemisphere",
    "elevation_deg": 30.0,
    "distance": 1.5,
    "distance_jitter": 0.0,
    "fov_jitter": 0.0,
    "margin": 0.04,
    "image_format": "png",
    "quality": 95,
    "keep_alpha": False,
    "max_bad_views": 0.5,
}


def selected(uid: str) -> SelectedObject:
    record = ObjectRecord(uid, "folder", uid, uid, f"/nowhere/{uid}.glb", None, None, None)
    return SelectedObject(record, "box")


def run(uids: list[str], renderer=None, **changes) -> list[View | Rejected]:
    renderer = renderer or fake.create(fake.Options(), interpreter=None)
    return list(render_objects(map(selected, uids), renderer, **(SETTINGS | changes)))


class Retouching:
    """The fake renderer, with some of its pictures painted over."""

    def __init__(self, paint) -> None:
        self._fake = fake.create(fake.Options(), interpreter=None)
        self._paint = paint

    def render(self, job: RenderJob) -> list[RenderedView]:
        return [
            replace(picture, rgba=self._paint(index, picture.rgba))
            for index, picture in enumerate(self._fake.render(job))
        ]

    def versions(self) -> dict[str, str]:
        return self._fake.versions()


def erase(*indices: int):
    return lambda index, rgba: np.zeros_like(rgba) if index in indices else rgba


def darken(*indices: int):
    black = np.array([0, 0, 0, 1], dtype=np.uint8)
    return lambda index, rgba: rgba * black if index in indices else rgba


def test_every_object_gets_its_views_in_order():
    records = run(["a", "b"])
    assert [record.key for record in records] == [(uid, index) for uid in "ab" for index in range(3)]
    for view in records:
        assert isinstance(view, View)
        assert (view.width, view.height) == (64, 64)
        assert view.camera is not None
        assert view.camera.elevation_deg > 0
        assert view.background == "#00ff00"


def test_the_image_is_composited_and_its_coverage_recorded():
    view = run(["a"])[0]
    with Image.open(io.BytesIO(view.image)) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (64, 64, 3)
    green = (pixels == [0, 255, 0]).all(axis=-1)
    assert green[0, 0]
    assert view.foreground_fraction == pytest.approx(1 - green.mean())


def test_a_picture_of_the_folder_stands_behind_the_object(tmp_path):
    for shade in range(5):
        Image.new("RGB", (9, 7), (0, 0, 10 + shade)).save(tmp_path / f"{shade}.png")
    views = run(["a", "b"], backgrounds=Backgrounds.open(tmp_path, seed=5), views=6)
    for view in views:
        with Image.open(io.BytesIO(view.image)) as picture:
            assert view.backdrop == f"{picture.getpixel((0, 0))[2] - 10}.png"
            assert picture.mode == "RGB"
    assert len({view.backdrop for view in views}) > 2
    plain = run(["a", "b"], views=6)
    assert [view.camera for view in views] == [view.camera for view in plain]
    assert {view.backdrop for view in plain} == {None}


def test_a_view_tells_what_it_was_made_from_and_by_whom(tmp_path):
    asset = tmp_path / "a.glb"
    asset.write_bytes(b"content")
    item = selected("a")
    item = replace(item, record=replace(item.record, asset=str(asset)))
    renderer = fake.create(fake.Options(), interpreter=None)
    for view in render_objects([item], renderer, **SETTINGS):
        assert view.asset_sha256 == hashlib.sha256(b"content").hexdigest()
        assert view.renderer == "fake 1"
    assert not Path(selected("a").record.asset).exists()
    assert [view.asset_sha256 for view in run(["a"])] == [None] * 3


def test_alpha_is_kept_on_request():
    view = run(["a"], keep_alpha=True)[0]
    with Image.open(io.BytesIO(view.image)) as picture:
        assert picture.mode == "RGBA"
        assert picture.getpixel((0, 0))[3] == 0


def test_viewpoints_depend_on_uid_and_seed_and_on_nothing_else():
    def cameras(records):
        return [record.camera for record in records]

    alone, after_another = cameras(run(["b"])), cameras(run(["a", "b"]))[3:]
    assert alone == after_another
    assert cameras(run(["b"], views=8))[:3] == alone
    assert cameras(run(["b"], seed=6)) != alone
    assert cameras(run(["a"])) != alone


def test_the_law_decides_where_the_cameras_stand_and_jitter_how_far():
    ring = run(["a"], law="ring", elevation_deg=12.0, views=4)
    assert [record.camera.elevation_deg for record in ring] == [12.0] * 4
    steady, varied = run(["a"], distance=5.0), run(["a"], distance=5.0, distance_jitter=0.2)
    assert {record.camera.distance for record in steady} == {5.0}
    assert len({record.camera.distance for record in varied}) == 3
    assert [r.camera.azimuth_deg for r in varied] == [r.camera.azimuth_deg for r in steady]


def test_the_field_of_view_varies_by_its_share_and_the_row_says_which_it_was():
    steady, varied = run(["a"], distance=5.0), run(["a"], distance=5.0, fov_jitter=0.2)
    [fov_deg] = {record.camera.fov_deg for record in steady}
    angles = [record.camera.fov_deg for record in varied]
    assert len(set(angles)) == 3
    assert all(0.8 * fov_deg <= angle <= 1.2 * fov_deg for angle in angles)


def test_a_failed_object_is_one_rejection_with_all_that_is_known():
    class Failing:
        def render(self, job):
            raise RenderFailed(OOM, "too much", attempts=2, signal="SIGKILL", log_tail="last words")

    assert run(["a"], Failing()) == [
        Rejected("a", "render", OOM, "too much", attempts=2, signal="SIGKILL", log_tail="last words")
    ]


def test_the_others_go_on_after_a_failure():
    renderer = fake.create(fake.Options(fail={"bad": "crash"}), interpreter=None)
    records = run(["a", "bad", "c"], renderer, views=1)
    assert [record.key for record in records] == [("a", 0), ("bad", None), ("c", 0)]


def test_an_object_that_nobody_can_see_is_one_empty_render():
    [rejected] = run(["a"], Retouching(erase(0, 1, 2)))
    assert (rejected.key, rejected.reason) == (("a", None), EMPTY_RENDER)
    assert rejected.message == "3 of 3 pictures are bad: 3 blank; max_bad_views=0.5"


def test_one_blank_view_is_rejected_alone():
    records = run(["a"], Retouching(erase(1)))
    assert [(r.key, getattr(r, "reason", None)) for r in records] == [
        (("a", 0), None),
        (("a", 1), EMPTY_RENDER),
        (("a", 2), None),
    ]


class TunedByTheFirstViewpoint(Retouching):
    """Paints all of an object's pictures in a shade that follows from the first viewpoint it is given."""

    def __init__(self) -> None:
        super().__init__(lambda index, rgba: rgba // self._divisor)

    def render(self, job: RenderJob) -> list[RenderedView]:
        shade = 1 + int(job.viewpoints[0].azimuth_deg) % 3
        self._divisor = np.array([shade, shade, shade, 1], dtype=np.uint8)
        return super().render(job)


def test_one_view_alone_is_what_it_is_among_all():
    everything = run(["a", "b"], TunedByTheFirstViewpoint(), views=6)
    everything = [replace(view, portrait=None) for view in everything]  # which only a whole object has
    for index in (0, 1, 5):
        alone = run(["a", "b"], TunedByTheFirstViewpoint(), views=6, only_view=index)
        assert alone == [everything[index], everything[6 + index]]


def test_a_view_alone_is_judged_alone():
    assert len(run(["a"], Retouching(erase(0)), views=6, only_view=5)) == 1
    [rejected] = run(["a"], Retouching(erase(1)), views=6, only_view=5)
    assert rejected.reason == EMPTY_RENDER


def test_a_stored_view_carries_the_flags_of_its_picture():
    assert [view.flags for view in run(["a"], Retouching(burn_a_corner(1)))] == [
        (),
        ("over_exposed", "clipped"),
        (),
    ]


def test_an_object_in_the_dark_has_bad_views():
    [rejected] = run(["a"], Retouching(darken(0, 1, 2)))
    assert (rejected.key, rejected.reason) == (("a", None), BAD_VIEWS)


def burn_a_corner(*indices: int):
    """Burn enough of some pictures to be flagged, and too little to be rejected."""

    def paint(index, rgba):
        burnt = rgba.copy()
        if index in indices:
            burnt[:20, :20] = 255
        return burnt

    return paint


def test_an_object_with_too_many_bad_views_is_rejected_with_what_they_have():
    paint = burn_a_corner(0, 2, 3)
    [rejected] = run(["a"], Retouching(lambda i, rgba: erase(1)(i, paint(i, rgba))), views=6)
    assert (rejected.key, rejected.reason) == (("a", None), BAD_VIEWS)
    assert rejected.message == (
        "4 of 6 pictures are bad: 1 blank, 3 clipped, 3 over_exposed; max_bad_views=0.5"
    )


def test_half_of_the_views_may_be_bad_and_the_share_is_a_setting():
    assert len(run(["a"], Retouching(burn_a_corner(0, 1, 2)), views=6)) == 6
    assert len(run(["a"], Retouching(burn_a_corner(0, 1, 2)), views=6, max_bad_views=0.49)) == 1
    assert len(run(["a"], Retouching(burn_a_corner(*range(6))), views=6, max_bad_views=1.0)) == 6
    assert len(run(["a"], Retouching(erase(*range(6))), views=6, max_bad_views=1.0)) == 1


def test_a_stored_view_is_made_again_however_bad_it_is():
    [view] = run(["a"], Retouching(burn_a_corner(1)), views=6, only_view=5)
    assert view.flags == ("over_exposed", "clipped")


def test_a_view_carries_what_was_found_in_its_model_file():
    facts = AssetFacts(12, 8, 0, 0, 0, ("lost.png",), True)

    class Informed(Retouching):
        def render(self, job):
            return [replace(picture, facts=facts) for picture in super().render(job)]

    views = run(["a"], Informed(lambda index, rgba: rgba))
    assert [(view.facts, view.flags) for view in views] == [(facts, ("untextured",))] * 3


@pytest.mark.parametrize(
    ("setting", "name", "nearest"), [("light", "studoi", "studio"), ("preset", "fisical", "physical")]
)
def test_an_unknown_name_is_an_error_before_any_rendering(setting, name, nearest):
    with pytest.raises(UnknownNameError, match=nearest):
        render_objects([], fake.create(fake.Options(), interpreter=None), **(SETTINGS | {setting: name}))
