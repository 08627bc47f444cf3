"""The configured captioner has to be here; the default one is only a note."""

import pytest

from mvcap.plugins import options_model
from mvcap.recipes import build_config
from pipelines.doctor.demo import check_demo_objects
from pipelines.doctor.models import check_models


@pytest.mark.parametrize("named", [True, False])
def test_a_model_that_is_not_here_is_fatal_only_if_it_was_named(fake_config, models, tmp_path, named):
    missing = tmp_path / "instructblip"
    config = fake_config(
        models("a"), captions__backend="instructblip", **{"captions__options__model": missing}
    )
    (finding,) = check_models(config, named=named)
    assert not finding.fine
    assert finding.fatal is named
    assert str(missing) in finding.detail


def test_options_that_a_captioner_does_not_have_are_told():
    settings = {"captions": {"backend": "openai", "options": {"modle": "Qwen"}}}
    (finding,) = check_models(build_config(settings, options_model, captions=False), named=True)
    assert finding.fatal
    assert "modle" in finding.detail


def test_a_captioner_without_a_model_is_fine(fake_config, models):
    (finding,) = check_models(fake_config(models("a"), captions__backend="template"), named=True)
    assert finding.fine


def test_missing_demo_objects_are_a_note(monkeypatch, tmp_path):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path))
    (finding,) = check_demo_objects()
    assert (finding.fine, finding.fatal) == (False, False)
    assert "mvcap.sources.sh3f.fetch" in finding.remedy
