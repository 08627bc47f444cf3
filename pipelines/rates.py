"""What a stage costs, as measured: pure data, each figure with the machine and the command it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MACHINE: Final = "two busy x86-64 cores, no GPU, 2026-11-26"
COMMAND: Final = "pytest -s tests/benchmarks/bench_stage_rates.py"


@dataclass(frozen=True, slots=True)
class Rate:
    """What an object and each of its views cost."""

    per_object_s: float
    per_view_s: float
    """Seconds of one core, or of one GPU with its process."""
    device: Literal["CPU", "GPU"]
    basis: str
    """Where the figures come from."""


@dataclass(frozen=True, slots=True)
class _Rendered:
    per_object_s: float
    per_view_s: float
    bytes_per_view: float


RENDERED: Final[Mapping[str, Mapping[int, _Rendered]]] = {
    "fast": {224: _Rendered(0.68, 0.178, 7110), 512: _Rendered(3.52, 0.709, 23410)},
    "physical": {224: _Rendered(1.17, 0.265, 7758), 512: _Rendered(4.80, 1.266, 25268)},
}
"""By preset and resolution, with the preset's own samples and the light `studio`; JPEG of quality 95."""
TINY_CAPTION_S: Final = 0.007
"""CPU-seconds of a caption by the small captioner that ships with mvcap."""


def rendering_rate(preset: str, resolution: int) -> Rate | None:
    """Return what rendering costs on a CPU; None for a preset that nobody measured."""
    if preset not in RENDERED:
        return None
    small, large = (RENDERED[preset][size] for size in sorted(RENDERED[preset]))
    basis = f"{preset} at {resolution} px; {COMMAND} on {MACHINE}"
    return Rate(
        _by_area(preset, resolution, small.per_object_s, large.per_object_s),
        _by_area(preset, resolution, small.per_view_s, large.per_view_s),
        "CPU",
        basis,
    )


def bytes_per_view(preset: str, resolution: int) -> float | None:
    """Return the size of a stored picture with its row; None for a preset that nobody measured."""
    if preset not in RENDERED:
        return None
    small, large = (RENDERED[preset][size] for size in sorted(RENDERED[preset]))
    return _by_area(preset, resolution, small.bytes_per_view, large.bytes_per_view)


def _by_area(preset: str, resolution: int, small: float, large: float) -> float:
    """Draw a line through the two measured pictures, over their area; not below a part of the smaller."""
    low, high = (size**2 for size in sorted(RENDERED[preset]))
    line = small + (large - small) * (resolution**2 - low) / (high - low)
    return max(line, small * min(1.0, resolution**2 / low))


def captioning_rate(backend: str, model: str | None) -> Rate | None:
    """Return what captions cost; None for every model but the small one of the demo."""
    if (backend, model) != ("instructblip", "tiny"):
        return None
    return Rate(0.0, TINY_CAPTION_S, "CPU", f"the small captioner; {COMMAND} on {MACHINE}")


IMPORT: Final = Rate(0.0, 0.009, "CPU", f"pictures of 1080 px; {COMMAND} on {MACHINE}")
"""What checking a picture costs and taking it as it is."""
