"""Which settings count as a change of what is produced."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from mvcap.config import (
    OPERATIONAL,
    CameraConfig,
    Config,
    ImageConfig,
    PlanConfig,
    RenderConfig,
    difference,
    producing_settings,
    settings_hash,
)


class Knobs(BaseModel):
    """Options of an invented backend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strength: float = 0.5
    workers: Annotated[int, OPERATIONAL] = 1


def render_with(**changes: Any) -> dict[str, Any]:
    return producing_settings(RenderConfig.model_validate(changes))


def test_settings_that_change_the_picture_are_flat_and_carry_their_path():
    settings = render_with(camera={"lens_mm": 50.0}, resolution=64)
    assert settings["camera.lens_mm"] == 50.0
    assert settings["resolution"] == 64
    assert not any(isinstance(value, dict) and value for value in settings.values())


def test_operational_settings_stay_out():
    assert render_with(blender="/opt/blender") == render_with(blender=None)
    captions = Config.model_validate({"captions": {"batch_size": 3, "threads": 2}}).captions
    assert producing_settings(captions) == producing_settings(Config().captions)
    assert not any(name.startswith("run") for name in producing_settings(Config()))


def test_operational_options_of_a_backend_stay_out_and_the_others_count():
    def with_knobs(**knobs: Any) -> dict[str, Any]:
        return producing_settings(RenderConfig().model_copy(update={"options": Knobs(**knobs)}))

    assert with_knobs(workers=8) == with_knobs(workers=1)
    assert with_knobs(strength=1.0)["options.strength"] == 1.0
    assert settings_hash(with_knobs(strength=1.0)) != settings_hash(with_knobs(strength=0.5))


def test_settings_survive_json_unchanged_so_that_a_rerun_compares_equal():
    settings = render_with(camera={"distance": 1.1}, samples=4)
    assert difference(json.loads(json.dumps(settings)), settings) == {}


def test_the_hash_does_not_depend_on_the_order():
    settings = render_with()
    assert settings_hash(dict(reversed(settings.items()))) == settings_hash(settings)
    assert settings_hash(settings | {"resolution": 64}) != settings_hash(settings)


def test_the_hash_is_of_canonical_json_so_that_committed_work_is_recognised_for_years():
    canonical = rb'{"a":"\u00fc","b":[1,null]}'
    assert settings_hash({"b": [1, None], "a": "ü"}) == hashlib.sha256(canonical).hexdigest()[:16]


def test_difference_names_changed_added_and_removed_settings():
    old, new = {"same": 1, "changed": 1, "removed": 1}, {"same": 1, "changed": 2, "added": 3}
    assert difference(old, new) == {"changed": (1, 2), "removed": (1, None), "added": (None, 3)}


@pytest.mark.parametrize(
    "splits",
    [
        {},
        {"train": 0.5},
        {"train": 1.5, "test": -0.5},
        {"train": float("nan")},
        {"train": float("inf"), "test": float("-inf")},
        {"../../train": 1.0},
        {"a/b": 0.5, "c d": 0.5},
    ],
)
def test_splits_that_do_not_divide_the_objects_are_refused(splits: dict[str, float]):
    with pytest.raises(ValidationError):
        PlanConfig(splits=splits)


def test_shares_that_add_up_but_for_rounding_are_accepted():
    assert PlanConfig(splits={"a": 0.1, "b": 0.2, "c": 0.7}).splits["c"] == 0.7


@pytest.mark.parametrize("lens_mm", [0.0, -35.0, float("nan"), float("inf")])
def test_a_camera_needs_a_finite_lens(lens_mm: float):
    with pytest.raises(ValidationError, match="lens_mm"):
        CameraConfig(lens_mm=lens_mm)


def test_alpha_cannot_be_kept_in_a_jpeg():
    with pytest.raises(ValidationError, match="keep_alpha needs format: png"):
        ImageConfig(keep_alpha=True)
    assert ImageConfig(format="png", keep_alpha=True).keep_alpha


@pytest.mark.parametrize("colour", ["white", "#fff", "#ffffff ", "#ffffff\n", "ffffff", "#gggggg"])
def test_a_background_is_six_hex_digits(colour: str):
    with pytest.raises(ValidationError, match="such as #808080"):
        RenderConfig(background=colour)


def test_backgrounds_are_found_from_any_working_directory(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RenderConfig(backgrounds="pictures").backgrounds == str(tmp_path / "pictures")
    assert "backgrounds" not in producing_settings(RenderConfig(backgrounds="pictures"))


def test_backgrounds_and_alpha_exclude_each_other():
    with pytest.raises(ValidationError, match="backgrounds cannot be put behind"):
        RenderConfig(backgrounds="pictures", image=ImageConfig(format="png", keep_alpha=True))


@pytest.mark.parametrize("wrong", [{"law": "sphere"}, {"elevation_deg": 90.1}, {"distance_jitter": 0.51}])
def test_cameras_below_the_horizon_or_inside_the_object_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CameraConfig(**wrong)


def test_a_configuration_is_frozen_and_travels_between_processes():
    config = Config.model_validate({"sources": [{"source": "folder", "options": {"path": "x"}}]})
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301


def test_own_names_have_a_say_only_where_objects_have_any():
    Config.model_validate({"filter": {"agreement": "required"}})
    with pytest.raises(ValidationError, match="agreement needs embeddings: openshape"):
        Config.model_validate({"filter": {"agreement": "required", "embeddings": "clip_views"}})


def test_a_list_read_from_json_is_no_change_of_a_tuple():
    assert difference({"a": [1, [2]], "b": 1}, {"a": (1, (2,)), "b": 2}) == {"b": (1, 2)}
