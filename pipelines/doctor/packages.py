"""Python, and the packages that have to import: a resolver does not see all that keeps one from it."""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from pipelines.doctor.findings import Finding
from pipelines.doctor.trials import TrialFailed, try_python

IMPORT_S: Final = 120.0
"""torch takes half a minute from a cold network disk."""

NEEDED: Final = (("numpy", "numpy"), ("pyarrow", "pyarrow"), ("PIL", "pillow"), ("ray", "ray"))
"""Module and distribution of what no command does without, and what is known to clash."""
TOGETHER: Final = (
    "pip install 'mvcap[blender]' (Python 3.11) brings versions that fit each other: "
    "bpy 4.5 needs numpy < 2,\nwhich pyarrow >= 26 and pandas >= 3.1 refuse when they are imported"
)
OPTIONAL: Final = (
    ("pandas", "pandas", "your own reading of the data", TOGETHER),
    ("torch", "torch", "the captioners instructblip and hf", "pip install 'mvcap[captions]'"),
    ("transformers", "transformers", "the captioners instructblip and hf", "pip install 'mvcap[captions]'"),
    ("openai", "openai", "the captioner openai", "pip install 'mvcap[openai]'"),
    ("s3fs", "s3fs", "datasets in object stores", "pip install s3fs"),
)


def check_python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    bpy = "" if sys.version_info[:2] == (3, 11) else "; bpy 4.5 exists for 3.11 alone"
    yield Finding("Python", sys.version_info >= (3, 11), found + bpy, "mvcap needs Python 3.11 or newer")


def check_needed_packages() -> Iterator[Finding]:
    for module, distribution in NEEDED:
        yield _imports(module, distribution, "every command", TOGETHER, needed=True)


def check_optional_packages() -> Iterator[Finding]:
    for module, distribution, use, remedy in OPTIONAL:
        yield _imports(module, distribution, use, remedy, needed=False)


def _imports(module: str, distribution: str, use: str, remedy: str, *, needed: bool) -> Finding:
    """Import a package in a process of its own: one that was built for another numpy may crash."""
    if find_spec(module) is None:
        return Finding(distribution, False, f"not installed; {use} needs it", remedy, needed)
    try:
        try_python("-c", f"import {module}", timeout_s=IMPORT_S)
    except TrialFailed as failure:
        return Finding(distribution, False, f"does not import: {failure}", remedy, needed)
    try:
        return Finding(distribution, True, version(distribution))
    except PackageNotFoundError:
        return Finding(distribution, True, "imports, of unknown version")
