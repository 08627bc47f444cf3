"""Fetching the libraries, with programs on PATH that behave as apt and dpkg do."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mvcap.errors import AssetFolderError
from mvcap.sources.sh3f.fetch import PACKAGE, SHA256, fetch

DEB = b"a small package"
APT_CACHE = """#!/bin/sh
test -n "$KNOWN" || case "$*" in *Dir::State::lists=*) ;; *) exit 100 ;; esac
test "$KNOWN" = never && exit 100
echo "Package: {package}"
echo "Version: $VERSION"
echo "SHA256: $LISTED"
"""
APT_GET = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  *update*) test "$NETWORK" = down && {{ echo "E: Could not resolve 'archive'" >&2; exit 100; }} ;;
  *download*) printf '%s' "{deb}" > "{package}_1.8-1_all.deb" ;;
esac
exit 0
"""
DPKG_DEB = """#!/bin/sh
folder="$3/usr/share/sweethome3d/furniture"
mkdir -p "$folder"
test "$EMPTY" = yes || for name in A B; do echo "$name" > "$folder/$name.sh3f"; done
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A machine whose apt knows the package (or not); returns the folder to fetch into."""
    programs = {
        "apt-cache": APT_CACHE.format(package=PACKAGE),
        "apt-get": APT_GET.format(package=PACKAGE, deb=DEB.decode()),
        "dpkg-deb": DPKG_DEB,
    }

    def set_up(*, without: str = "", version: str = "9.9-1", listed: str | None = None, **state: str) -> Path:
        binaries = tmp_path / "bin"
        binaries.mkdir()
        for name, text in programs.items():
            if name != without:
                (binaries / name).write_text(text)
                (binaries / name).chmod(0o755)
        for tool in ("mkdir", "sh", "test"):
            (binaries / tool).symlink_to(Path("/bin") / tool if tool != "test" else "/usr/bin/test")
        monkeypatch.setenv("PATH", str(binaries))
        monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("LOG", str(tmp_path / "log"))
        monkeypatch.setenv("VERSION", version)
        monkeypatch.setenv("LISTED", hashlib.sha256(DEB).hexdigest() if listed is None else listed)
        for name in ("KNOWN", "NETWORK", "EMPTY"):
            monkeypatch.setenv(name, state.get(name.lower(), ""))
        return tmp_path / "cache" / "sh3f" / "libraries"

    return set_up


def commands(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_the_libraries_are_fetched_and_nothing_else_is_left(machine: Callable[..., Path]):
    folder = machine(known="yes")
    assert fetch(folder) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["A.sh3f", "B.sh3f"]
    assert list(folder.parent.iterdir()) == [folder]


def test_what_is_there_is_not_fetched_again_even_without_apt(machine: Callable[..., Path], tmp_path: Path):
    folder = machine(known="yes", without="apt-get")
    folder.mkdir(parents=True)
    (folder / "mine.sh3f").write_bytes(b"x")
    fetch(folder)
    assert not (tmp_path / "log").exists()


def test_a_machine_that_knows_the_package_updates_no_lists(machine: Callable[..., Path], tmp_path: Path):
    fetch(machine(known="yes"))
    assert commands(tmp_path) == [f"download {PACKAGE}=9.9-1"]


def test_a_machine_with_empty_lists_gets_its_own_in_the_cache_folder(
    machine: Callable[..., Path], tmp_path: Path
):
    fetch(machine())
    update, download = commands(tmp_path)
    lists = f"Dir::State::lists={tmp_path}/cache/apt/lists"
    assert update.endswith("update")
    assert lists in update
    assert lists in download
    assert (tmp_path / "cache" / "apt" / "lists" / "partial").is_dir()


@pytest.mark.parametrize("program", ["apt-get", "apt-cache", "dpkg-deb"])
def test_a_machine_without_apt_is_told_what_else_to_do(machine: Callable[..., Path], program: str):
    folder = machine(without=program)
    with pytest.raises(AssetFolderError) as caught:
        fetch(folder)
    message = str(caught.value)
    assert message.startswith(f"{program} does not exist on this machine")
    assert "--models FOLDER" in message
    assert "Objaverse" in message
    assert str(folder) in message


def assert_nothing_was_fetched(folder: Path) -> None:
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_a_wrong_checksum_is_refused(machine: Callable[..., Path]):
    folder = machine(known="yes", listed="0" * 64)
    with pytest.raises(
        AssetFolderError, match=f"has the sha256 [0-9a-f]{{64}}, not {'0' * 64}; it was not used"
    ):
        fetch(folder)
    assert_nothing_was_fetched(folder)


def test_a_known_version_is_checked_against_our_own_checksum_and_not_against_the_list(
    machine: Callable[..., Path],
):
    folder = machine(known="yes", version="1.8-1")  # the list agrees with the download, we do not
    with pytest.raises(AssetFolderError, match=f"not {SHA256['1.8-1']}"):
        fetch(folder)
    assert_nothing_was_fetched(folder)


def test_a_version_without_any_checksum_is_refused(machine: Callable[..., Path]):
    folder = machine(known="yes", listed="")
    with pytest.raises(AssetFolderError, match="not None"):
        fetch(folder)
    assert_nothing_was_fetched(folder)


def test_an_unreachable_archive_is_told_with_apts_own_words(machine: Callable[..., Path]):
    folder = machine(network="down")
    with pytest.raises(AssetFolderError, match=r"Could not resolve 'archive'[\s\S]*--models FOLDER"):
        fetch(folder)
    assert_nothing_was_fetched(folder)


def test_a_package_that_apt_does_not_know_is_told(machine: Callable[..., Path]):
    folder = machine(known="never")
    with pytest.raises(AssetFolderError, match=f"apt does not know the package {PACKAGE}"):
        fetch(folder)
    assert_nothing_was_fetched(folder)


def test_a_package_without_libraries_is_told(machine: Callable[..., Path]):
    folder = machine(known="yes", empty="yes")
    with pytest.raises(AssetFolderError, match=r"holds no \.sh3f library"):
        fetch(folder)
    assert_nothing_was_fetched(folder)
