"""Whether the hub answers, and who we are to it; a token is never shown."""

import pytest
from huggingface_hub import constants

from pipelines.doctor.hub import check_hub


@pytest.fixture
def log_in(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return lambda token: monkeypatch.setenv("HF_TOKEN", token)


def test_a_login_that_the_hub_takes_is_named(hub, hub_double, log_in):
    log_in(hub_double.TOKEN)
    (finding,) = check_hub()
    assert finding.fine
    assert finding.detail == f"{hub.url}, logged in as somebody"


def test_a_token_that_the_hub_refuses_is_a_note_without_the_token(hub, log_in):
    log_in("hf_an-old-token")
    (finding,) = check_hub()
    assert (finding.fine, finding.fatal) == (False, False)
    assert finding.remedy == "hf auth login"
    assert "old" not in str(finding)


def test_without_a_login_the_hub_only_has_to_answer(hub, log_in):
    (finding,) = check_hub()
    assert finding.fine
    assert "no login" in finding.detail


def test_a_hub_that_is_gone_is_a_note_that_says_how_to_do_without(hub, log_in, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    (finding,) = check_hub()
    assert (finding.fine, finding.fatal) == (False, False)
    assert "http://127.0.0.1:9 does not answer" in finding.detail
    assert "HF_ENDPOINT" in finding.remedy
