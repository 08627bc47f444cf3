"""Files from a real server that answers, and fails, as the hub does."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import close_session, constants

from mvcap import hub as asking
from mvcap.downloads import HubDataset, require_room
from mvcap.errors import DiskFullError, FetchError, HubUnreachableError

NAME = "some/dataset"
CONTENT = os.urandom(300_000)


@pytest.fixture
def file(hub: Any) -> Path:
    path: Path = hub.root / "datasets" / NAME / "folder" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once; `test_a_short_rate_limit_is_waited_out` waits for real."""
    monkeypatch.setattr(asking, "time", SimpleNamespace(sleep=lambda _: None))


def fetch(target: Path) -> bytes:
    return HubDataset(NAME).fetch("folder/file.bin", target).read_bytes()


def test_a_file_arrives_whole_and_is_not_asked_for_again(hub: Any, file: Path, tmp_path: Path):
    target = tmp_path / "cache" / "deep" / "file.bin"
    assert fetch(target) == CONTENT
    asked = len(hub.requests)
    assert fetch(target) == CONTENT
    assert len(hub.requests) == asked
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_an_existing_file_is_left_as_it_is(hub: Any, file: Path, tmp_path: Path):
    (tmp_path / "mine.bin").write_bytes(b"mine")
    assert fetch(tmp_path / "mine.bin") == b"mine"
    assert hub.requests == []


@pytest.mark.usefixtures("no_waiting")
def test_a_small_file_is_checked_against_the_checksum_of_git(
    hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path
):
    (file.parent / "small.txt").write_bytes(b"some words")
    hub.fail("GET", "small.txt", hub_double.corrupted())
    target = HubDataset(NAME).fetch("folder/small.txt", tmp_path / "small.txt")
    assert target.read_bytes() == b"some words"
    assert len(hub.seen("GET", "small.txt")) == 2


def test_a_short_rate_limit_is_waited_out(hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path):
    hub.fail("HEAD", "file.bin", hub_double.rate_limited(1))
    started = time.monotonic()
    assert fetch(tmp_path / "file.bin") == CONTENT
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("headers", "waited_s"),
    [({"Retry_After": "300"}, 300), ({"RateLimit": '"resolvers";r=0;t=47'}, 48), ({}, 1)],
)
def test_a_window_of_the_rate_limit_is_waited_out_however_the_hub_tells_it(
    hub: Any,
    hub_double: SimpleNamespace,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    waited_s: int,
):
    waits: list[float] = []
    monkeypatch.setattr(asking, "time", SimpleNamespace(sleep=waits.append))
    hub.fail("HEAD", "file.bin", hub_double.refusing(429, **headers))
    assert fetch(tmp_path / "file.bin") == CONTENT
    assert waits == [waited_s]
    assert ("the hub answers 429; waiting" in caplog.text) == (waited_s > 10)


def test_a_gated_dataset_is_named_with_its_page_and_the_login_command(
    hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path
):
    hub.fail("HEAD", "file.bin", hub_double.gated())
    with pytest.raises(
        FetchError, match="is gated: accept its terms on that page, then run `hf auth login`"
    ) as e:
        fetch(tmp_path / "file.bin")
    assert f"{hub.url}/datasets/{NAME}" in str(e.value)
    assert not (tmp_path / "file.bin").exists()


def test_a_file_that_the_dataset_lacks_is_named(hub: Any, file: Path, tmp_path: Path):
    with pytest.raises(FetchError, match=r"glbs/gone\.glb: the dataset .* does not hold this file"):
        HubDataset(NAME).fetch("glbs/gone.glb", tmp_path / "gone.glb")


def test_a_revision_that_the_dataset_lacks_is_named(hub: Any, file: Path, tmp_path: Path):
    with pytest.raises(FetchError, match="has no revision 'v9'"):
        HubDataset(NAME, "v9").fetch("folder/file.bin", tmp_path / "file.bin")


def test_a_transfer_that_dies_goes_on_where_it_was(
    hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**15)  # of 10 MB: a smaller loss begins anew
    hub.fail("GET", "file.bin", hub_double.dying_after(0.5))
    assert fetch(tmp_path / "file.bin") == CONTENT
    first, second = hub.seen("GET", "file.bin")
    assert "Range" not in first.headers
    assert (
        100_000 < int(second.headers["Range"].removeprefix("bytes=").removesuffix("-")) <= len(CONTENT) // 2
    )


@pytest.mark.usefixtures("no_waiting")
def test_a_truncated_body_is_completed(hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path):
    hub.fail("GET", "file.bin", hub_double.truncated(0.3))
    assert fetch(tmp_path / "file.bin") == CONTENT
    assert hub.seen("GET", "file.bin")[1].headers["Range"] == f"bytes={int(0.3 * len(CONTENT))}-"


@pytest.mark.usefixtures("no_waiting")
def test_content_with_a_wrong_checksum_is_fetched_anew_and_never_kept(
    hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path
):
    target = tmp_path / "file.bin"
    hub.fail("GET", "file.bin", *[hub_double.corrupted()] * asking.ATTEMPTS)
    with pytest.raises(FetchError, match=r"its checksum is \w{64}, not \w{64}"):
        fetch(target)
    assert not target.exists()
    assert fetch(target) == CONTENT


def test_the_next_process_goes_on_where_a_killed_one_was(
    hub: Any, hub_double: SimpleNamespace, file: Path, tmp_path: Path
):
    target = tmp_path / "cache" / "file.bin"

    def stalling(handler: Any, path: Path) -> bool:
        handler.head(200, {"Content-Length": str(len(CONTENT))})
        handler.wfile.write(CONTENT[:200_000])
        handler.wfile.flush()
        stalled.wait(20)
        handler.close_connection = True
        return True

    stalled = threading.Event()
    hub.fail("GET", "file.bin", stalling)
    script = (
        "import sys; from pathlib import Path; from huggingface_hub import constants\n"
        "constants.DOWNLOAD_CHUNK_SIZE = 1 << 16\n"
        "from mvcap.downloads import HubDataset\n"
        "HubDataset(sys.argv[1]).fetch('folder/file.bin', Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, NAME, str(target)], cwd=Path(__file__).parents[2]
    )
    part = target.with_name(".attempt-file.bin")
    while not part.exists() or part.stat().st_size < 100_000:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    stalled.set()
    received = part.stat().st_size
    assert not target.exists()
    assert fetch(target) == CONTENT
    assert hub.seen("GET", "file.bin")[-1].headers["Range"] == f"bytes={received}-"


def test_a_file_asked_for_by_many_threads_is_transferred_once(hub: Any, file: Path, tmp_path: Path):
    threads = [threading.Thread(target=fetch, args=(tmp_path / "file.bin",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(hub.seen("GET", "file.bin")) == 1


@pytest.mark.usefixtures("no_waiting")
def test_a_hub_that_does_not_answer_blames_no_file(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(HubUnreachableError, match="cannot be fetched"):
        fetch(tmp_path / "file.bin")


def test_offline_mode_is_told_at_once(hub: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()  # an open client has settled the mode already
    started = time.monotonic()
    with pytest.raises(FetchError, match="offline mode is enabled"):
        fetch(tmp_path / "file.bin")
    assert time.monotonic() - started < 1
    assert hub.requests == []


def test_a_token_stays_with_the_hub(hub: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(tmp_path / "file.bin")
    (head,) = hub.seen("HEAD", "file.bin")
    (get,) = hub.seen("GET", "file.bin")
    assert head.headers["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in get.headers


def test_too_small_a_disk_is_told_before_the_start(tmp_path: Path):
    with pytest.raises(DiskFullError, match=re.escape("three objects needs 1000000000.0 GB in")):
        require_room(tmp_path / "new", 10**18, "three objects")
