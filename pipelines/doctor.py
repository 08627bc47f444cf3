"""Look a machine over before a long run; every finding says what to do about it."""

import importlib.metadata
import importlib.util
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from mvcap.errors import MvcapError
from mvcap.files import cache_folder
from mvcap.plugins import options_model
from mvcap.recipes import build_config
from mvcap.sources.sh3f import default_library
from pipelines.rendering import check_renderer

BPY_LIBRARIES = "libgl1 libegl1 libsm6 libxfixes3 libxi6 libxkbcommon0 libxrender1 libxxf86vm1"
"""Debian packages that a bpy wheel links against."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    fine: bool
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        line = f"{'ok  ' if self.fine else 'FAIL'} {self.name:14} {self.detail}"
        return line if self.fine or not self.remedy else f"{line}\n{'':19} -> {self.remedy}"


def examine() -> list[Finding]:
    """Look at everything a run needs on this machine."""
    return [finding for check in _CHECKS for finding in check()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), version, "mvcap needs Python 3.11 or newer")


def _blender() -> Iterator[Finding]:
    remedy = (
        "on Python 3.11: pip install 'mvcap[blender]'; else: --set render.blender=/path/to/blender.\n"
        f"{'':22} If bpy misses libraries: apt-get install {BPY_LIBRARIES}"
    )
    try:
        versions = check_renderer(build_config({}, options_model, captions=False))
        yield Finding("Blender", True, ", ".join(f"{name} {version}" for name, version in versions.items()))
    except MvcapError as error:
        yield Finding("Blender", False, str(error).splitlines()[0], remedy)


def _packages() -> Iterator[Finding]:
    for module, package, use, extra in (
        ("ray", "ray", "--runner ray", "mvcap"),
        ("torch", "torch", "captions", "mvcap[captions]"),
        ("transformers", "transformers", "captions", "mvcap[captions]"),
    ):
        found = importlib.util.find_spec(module) is not None
        detail = importlib.metadata.version(package) if found else f"not installed; needed for {use}"
        yield Finding(package, found, detail, f"pip install '{extra}'")


def _gpu() -> Iterator[Finding]:
    found = shutil.which("nvidia-smi") is not None
    yield Finding(
        "GPU", True, "NVIDIA driver found" if found else "none: rendering and captions run on the CPU"
    )


def _memory() -> Iterator[Finding]:
    total = psutil.virtual_memory().total / 1e9
    yield Finding(
        "memory",
        total >= 4,
        f"{total:.0f} GB, {psutil.cpu_count()} CPUs",
        "4 GB are the least for one renderer",
    )
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free / 1e6 if shared.is_dir() else 0
    yield Finding(
        "shared memory",
        free >= 200,
        f"{free:.0f} MB free in {shared}",
        "Ray wants 200 MB: docker run --shm-size=1g",
    )


def _limits() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding("open files", soft >= 1024, f"limit {soft}", "ulimit -n 65536")


def _disk() -> Iterator[Finding]:
    for name, folder in (("disk here", Path.cwd()), ("cache", cache_folder())):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free / 1e9
        yield Finding(
            name, free >= 2, f"{free:.0f} GB free at {folder}", "free some, or set MVCAP_CACHE for the cache"
        )


def _furniture() -> Iterator[Finding]:
    folder = default_library()
    count = len(list(folder.glob("*.sh3f")))
    detail = f"{count} furniture libraries" if count else "the demo's objects are not here"
    yield Finding(
        "demo objects", bool(count), detail, "python -m mvcap.sources.sh3f.fetch (only the demo needs them)"
    )


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _blender,
    _packages,
    _gpu,
    _memory,
    _limits,
    _disk,
    _furniture,
)
