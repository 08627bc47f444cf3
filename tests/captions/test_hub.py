"""The hub's refusals, from a real HTTP server that answers as the hub does."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from captions import hub
from captions.checkpoints import check_model
from mvcap.errors import ModelUnavailableError
from mvcap.hub import ATTEMPTS

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMPLETE = [
    "config.json",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "qformer_tokenizer/tokenizer.json",
]


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=lambda: COMPLETE)
    page: str | None = None
    """Body to send instead of JSON."""


@dataclass
class FakeHub:
    """Answers requests in turn; the last answer repeats."""

    url: str = ""
    listing: list[Answer] = field(default_factory=lambda: [Answer()])
    config: Answer = field(default_factory=Answer)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    state = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, answer: Answer) -> None:
            state.requests.append(f"{self.command} {self.path}")
            siblings = [{"rfilename": name} for name in answer.files]
            listing = {"id": "some/model", "sha": COMMIT, "siblings": siblings}
            body = (answer.page or json.dumps(listing)).encode()
            self.send_response(answer.status)
            for name, value in {"X-Repo-Commit": COMMIT, "ETag": '"e"', **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(state.listing.pop(0) if len(state.listing) > 1 else state.listing[0])

        def do_HEAD(self) -> None:
            self.answer(state.config)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def refusal(fake_hub: FakeHub, revision: str | None = None) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        check_model("some/model", revision, endpoint=fake_hub.url)
    message = str(caught.value)
    assert f"{fake_hub.url}/some/model" in message, "the model's page"
    assert len(message.splitlines()) < 20
    return message


def test_reachable_model_passes_without_a_download(fake_hub: FakeHub, tmp_path: Path):
    check_model("some/model", "v1.0", endpoint=fake_hub.url)
    assert fake_hub.requests == [
        "GET /api/models/some/model/revision/v1.0",
        f"HEAD /some/model/resolve/{COMMIT}/config.json",
    ]
    assert not (tmp_path / "cache").exists()


def test_repository_without_safetensors_is_refused(fake_hub: FakeHub):
    fake_hub.listing = [Answer(files=[*COMPLETE[:1], *COMPLETE[2:], "pytorch_model.bin"])]
    message = refusal(fake_hub)
    assert "lacks model.safetensors (pytorch_model.bin is a pickle" in message


def test_gated_model_gives_the_login_command(fake_hub: FakeHub):
    fake_hub.config = Answer(403, {"X-Error-Code": "GatedRepo"})
    message = refusal(fake_hub)
    assert "is gated: accept its terms" in message
    assert "hf auth login" in message
    assert "hf download some/model --local-dir FOLDER" in message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401), "does not exist, or is private"),
        (Answer(404, {"X-Error-Code": "RepoNotFound"}), "does not exist, or is private"),
        (Answer(404, {"X-Error-Code": "RevisionNotFound"}), "has no revision 'v9'"),
        (
            Answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
            "or run `hf auth login`",
        ),
        (Answer(403), r"refuses access .* \(HTTP 403\)"),
        (Answer(500), "answered HTTP 500"),
    ],
)
def test_refusal_of_the_hub_is_explained(fake_hub: FakeHub, answer: Answer, said: str):
    fake_hub.listing = [answer]
    with pytest.raises(ModelUnavailableError, match=said):
        check_model("some/model", "v9", endpoint=fake_hub.url)


def test_short_rate_limit_is_waited_out(fake_hub: FakeHub):
    fake_hub.listing = [Answer(429, {"Retry-After": "1"}), Answer()]
    start = time.monotonic()
    check_model("some/model", None, endpoint=fake_hub.url)
    assert time.monotonic() - start >= 1


def test_lasting_or_long_rate_limit_is_reported(fake_hub: FakeHub):
    fake_hub.listing = [Answer(429, {"Retry-After": "0"})]
    assert "HTTP 429" in refusal(fake_hub)
    assert len(fake_hub.requests) == ATTEMPTS
    fake_hub.requests.clear()
    fake_hub.listing = [Answer(429, {"Retry-After": "3600"})]
    assert "hf auth login" in refusal(fake_hub)
    assert len(fake_hub.requests) == 1


def test_login_page_of_a_network_is_not_taken_for_the_hub(fake_hub: FakeHub):
    fake_hub.listing = [Answer(page="<html>Welcome to our hotel</html>")]
    assert "cannot be fetched" in refusal(fake_hub)


def test_machine_without_network_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(ModelUnavailableError, match="not in the local cache and cannot be fetched") as caught:
        check_model("some/model", None, endpoint="http://127.0.0.1:9")
    assert time.monotonic() - start < 5
    assert "--set captions.options.model=FOLDER" in str(caught.value)


def test_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "REQUEST_TIMEOUT_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ModelUnavailableError, match="cannot be fetched"),
    ):
        check_model("some/model", None, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")


def check_in_a_new_process(fake_hub: FakeHub, cache: Path, *, offline: str) -> str:
    """Return what a check of `some/model` prints where `HF_ENDPOINT` names the fake hub."""
    settings = {"HF_ENDPOINT": fake_hub.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": offline}
    script = "from captions.checkpoints import check_model; check_model('some/model', None)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def test_mirror_is_named_by_hf_endpoint(fake_hub: FakeHub, tmp_path: Path):
    fake_hub.config = Answer(403, {"X-Error-Code": "GatedRepo"})
    printed = check_in_a_new_process(fake_hub, tmp_path, offline="0")
    assert f"ModelUnavailableError: the model {fake_hub.url}/some/model is gated" in printed


def test_offline_mode_is_respected(fake_hub: FakeHub, tmp_path: Path):
    printed = check_in_a_new_process(fake_hub, tmp_path, offline="1")
    assert "ModelUnavailableError" in printed
    assert "offline mode is enabled" in printed
    assert fake_hub.requests == []
