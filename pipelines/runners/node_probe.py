"""What a node lacks of what a run needs. Sent to nodes as code, as one may have nothing of ours: stdlib only.

Each finding says what is wrong with "the node" as its subject, and the remedy.
"""

import hashlib
import importlib.util
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("captions", "mvcap", "pipelines", "render")
"""Whose code a worker runs."""


def code_hash() -> str | None:
    """Hash our packages' Python files as this interpreter would import them; None where one is missing."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or not found.submodule_search_locations:
            return None
        root = Path(next(iter(found.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{name}/{path.relative_to(root)}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:2]))


class Question(NamedTuple):
    """What the driver has, and a node should have."""

    python: str
    code: str | None
    """The driver's `code_hash`."""
    root: str | None
    """The dataset's folder; None where no dataset is written."""
    probe: str
    """A file in it, written by the driver."""
    token: str
    """The probe's content."""
    reads: Sequence[str]
    """Files and folders of the driver's machine that workers read."""


def find_lacks(asked: Question) -> list[str]:
    """Compare this node with the driver's."""
    if python_version() != asked.python:
        return [
            f"has Python {platform.python_version()}, the driver {asked.python}: start Ray on every node "
            "from the same environment"
        ]
    own = code_hash()
    if own is None:
        return [
            f"has no mvcap for {sys.executable}: install the driver's version there, or start Ray from an "
            "environment that has it"
        ]
    if own != asked.code:
        return [
            f"has another mvcap (code {own}, the driver's is {asked.code}): install the same version on "
            "every node"
        ]
    unseen = list(_unseen(asked.root, asked.probe, asked.token)) if asked.root is not None else []
    return unseen + [
        f"does not see {path}, which its workers would read: mount it there, under the same path"
        for path in asked.reads
        if not Path(path).exists()
    ]


def _unseen(root: str, probe: str, token: str) -> Iterator[str]:
    """Read what the driver wrote, and write beside it."""
    from mvcap import files
    from mvcap.places import parse_place

    shared = "put the dataset (--out) on a file system that every node mounts under the same path"
    try:
        if files.read_bytes(parse_place(probe)).decode() != token:
            yield f"sees another folder under {root} than the driver: {shared}"
            return
    except OSError as error:
        yield f"does not see what the driver writes to {root} ({error.strerror or error}): {shared}"
        return
    try:
        files.probe(parse_place(root))
    except OSError as error:
        yield f"cannot write to {root} ({error.strerror or error}): let Ray's user write there"
