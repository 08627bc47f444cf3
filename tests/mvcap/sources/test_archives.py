"""Archives of strangers are read entry by entry, within limits, and their names are never paths."""

import struct
import zipfile
from pathlib import Path

import pytest

from mvcap.errors import BAD_ASSET, TOO_BIG
from mvcap.pictures import LARGEST_FILE_BYTES, UnusableInputError
from mvcap.sources._archives import Archive, plain_parts


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_entries_are_read_by_their_names_and_folders_are_none(tmp_path):
    archive = Archive(zipped(tmp_path / "a.zip", {"x/": b"", "x/1.png": b"one", "2.png": b"two"}))
    assert sorted(archive) == ["2.png", "x/1.png"]
    assert archive.read("x/1.png") == b"one"
    assert "x/1.png" in archive
    with pytest.raises(UnusableInputError, match="holds no"):
        archive.read("../x/1.png")


def test_names_that_lead_elsewhere_write_and_read_nothing_there(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    archive = Archive(
        zipped(tmp_path / "in" / "a.zip", {"../secret.png": b"theirs", "/etc/passwd": b"theirs"})
    )
    assert {archive.read(name) for name in archive} == {b"theirs"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in", "secret.png"]


def test_too_many_entries_and_too_many_bytes_are_refused_before_anything_is_read(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{index}.png": bytes(1000) for index in range(20)})
    with pytest.raises(UnusableInputError, match="20 entries, more than 19") as refused:
        Archive(path, most_entries=19)
    assert refused.value.reason == TOO_BIG
    with pytest.raises(UnusableInputError, match="unpack to 20000 bytes, more than 19999"):
        Archive(path, largest_bytes=19_999)


def test_an_entry_that_says_it_is_huge_is_refused_unread(tmp_path):
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(5000)})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", LARGEST_FILE_BYTES + 1)
    path.write_bytes(data)
    with pytest.raises(UnusableInputError) as refused:
        Archive(path).read("bomb.png")
    assert refused.value.reason == TOO_BIG


def test_an_entry_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(50_000)})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(UnusableInputError, match="cannot be read"):
        Archive(path).read("bomb.png")


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "undecodable", "missing"])
def test_a_damaged_archive_is_a_reason_and_no_crash(tmp_path, damage):
    path = zipped(tmp_path / "a.zip", {"1.png": bytes(range(256)) * 8})
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[60] ^= 0xFF
    undecodable = data[:35] + b"\xff" + data[36:]  # no such kind of block
    if damage == "missing":
        path.unlink()
    else:
        damaged = {"empty": b"", "cut": data[:-30], "flipped": bytes(flipped), "undecodable": undecodable}
        path.write_bytes(damaged[damage])
    with pytest.raises(UnusableInputError) as refused:
        Archive(path).read("1.png")
    assert refused.value.reason == BAD_ASSET


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("./views/a/1.png", ("views", "a", "1.png")),
        ("../x", None),
        ("a/../../x", None),
        ("/etc/passwd", None),
        ("a\0b", None),
        ("..\\x", None),
        ("", None),
        ("x" * 256, None),
        ("\ud800", ("\ud800",)),
        ("/".join(["x"] * 3000), None),
    ],
)
def test_only_plain_relative_names_become_paths(name, parts):
    assert plain_parts(name) == parts
