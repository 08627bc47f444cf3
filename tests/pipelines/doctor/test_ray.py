"""Who else could use a Ray that is started here; and a Ray that does not start."""

import os
import socket

import pytest

from pipelines.doctor import ray
from pipelines.doctor.ray import _dashboard, _token, check_ray


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    return tmp_path


def test_no_token_is_a_note_that_says_how_to_make_one(home):
    finding = _token(home)
    assert (finding.fine, finding.fatal) == (False, False)
    assert "ray get-auth-token --generate" in finding.remedy


def test_a_token_that_everyone_can_read_is_told(home):
    token = home / ".ray/auth_token"
    token.write_text("c0ffee")
    token.chmod(0o644)
    assert _token(home).remedy == f"chmod 600 {token}"
    token.chmod(0o600)
    assert _token(home).fine
    assert "c0ffee" not in str(_token(home))


def test_a_token_that_is_turned_off_is_told(home, monkeypatch):
    token = home / ".ray/auth_token"
    token.write_text("c0ffee")
    token.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert _token(home).remedy == "unset RAY_AUTH_MODE"


@pytest.mark.parametrize(("address", "fine"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_dashboard_that_other_machines_reach_is_told(monkeypatch, address, fine):
    with socket.create_server((address, 0)) as server:
        monkeypatch.setattr(ray, "DASHBOARD_PORT", server.getsockname()[1])
        finding = _dashboard()
    assert finding.fine is fine
    assert fine or "--dashboard-host 127.0.0.1" in finding.remedy


def test_a_ray_that_does_not_start_is_fatal(monkeypatch, tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError('libstdc++.so.6: version GLIBCXX not found')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    finding = next(check_ray())
    assert finding.fatal
    assert "GLIBCXX not found" in finding.detail
    assert "--runner local" in finding.remedy
