"""Fetch the furniture libraries: the Debian package `sweethome3d-furniture`, without root.

Run as `python -m mvcap.sources.sh3f.fetch`.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mvcap.errors import AssetFolderError
from mvcap.files import cache_folder
from mvcap.sources.sh3f import default_library

PACKAGE = "sweethome3d-furniture"
SHA256 = {"1.8-1": "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668"}
"""Of the package's known versions. Any other is checked against apt's signed lists."""

ADVICE = (
    "Use a folder of your own models instead (mvcap build-all --models FOLDER), copy the .sh3f libraries of\n"
    "www.sweethome3d.com into {folder}, or use Objaverse."
)


def fetch(folder: Path) -> Path:
    """Put the furniture libraries into `folder`, unless they are there already, and return it.

    Raises:
        AssetFolderError: this machine has no apt, cannot reach its package archive, or the package's
            checksum is wrong.
    """
    if any(folder.glob("*.sh3f")):
        return folder
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(program) is None:
            raise AssetFolderError(
                f"{program} does not exist on this machine.\n" + ADVICE.format(folder=folder)
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        package = _download(Path(scratch))
        _run(["dpkg-deb", "-x", str(package), f"{scratch}/unpacked"])
        _move_libraries(Path(scratch) / "unpacked", folder)
    return folder


def _download(scratch: Path) -> Path:
    """Download the package, with package lists of our own where the machine's do not know it."""
    options = [] if _version([]) else _own_lists()
    version = _version(options)
    if version is None:
        raise AssetFolderError(
            f"apt does not know the package {PACKAGE}.\n" + ADVICE.format(folder=default_library())
        )
    _run(["apt-get", *options, "download", f"{PACKAGE}={version}"], cwd=scratch)
    package = next(scratch.glob(f"{PACKAGE}_*.deb"))
    expected = SHA256.get(version) or _listed_sha256(options, version)
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != expected:
        raise AssetFolderError(f"{PACKAGE} {version} has the sha256 {found}, not {expected}; it was not used")
    return package


def _version(options: list[str]) -> str | None:
    """Return the version apt would download, or None where its lists do not hold the package."""
    found = _run(["apt-cache", *options, "show", "--no-all-versions", PACKAGE], check=False)
    return match[1] if (match := re.search(r"^Version: (\S+)$", found, re.MULTILINE)) else None


def _listed_sha256(options: list[str], version: str) -> str | None:
    listed = _run(["apt-cache", *options, "show", f"{PACKAGE}={version}"])
    return match[1] if (match := re.search(r"^SHA256: (\w+)$", listed, re.MULTILINE)) else None


def _own_lists() -> list[str]:
    """Update package lists in the cache folder, which needs no root, and return apt's options for them."""
    state = cache_folder() / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", f"Dir::State::lists={state / 'lists'}"),
        *("-o", f"Dir::Cache={state}"),
        *("-o", f"Dir::Cache::archives={state / 'archives'}"),
        *("-o", "APT::Sandbox::User="),
        *("-o", "Debug::NoLocking=1"),
    ]
    _run(["apt-get", *options, "update"])
    return options


def _run(command: list[str], *, cwd: Path | None = None, check: bool = True) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if check and done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise AssetFolderError(
            f"`{' '.join(command)}` failed:\n{tail}\n" + ADVICE.format(folder=default_library())
        )
    return done.stdout


def _move_libraries(unpacked: Path, folder: Path) -> None:
    libraries = sorted(unpacked.rglob("*.sh3f"))
    if not libraries:
        raise AssetFolderError(f"the package {PACKAGE} holds no .sh3f library")
    parent = libraries[0].parent
    if folder.exists():
        folder.rmdir()
    parent.rename(folder)


if __name__ == "__main__":
    try:
        print(f"furniture libraries: {fetch(default_library())}", file=sys.stderr)
    except AssetFolderError as error:
        sys.exit(f"error: {error}")
