"""How much work a picture gets, and what its light is made of, by name: pure data.

`physical` and `reference` trace all light. `fast` traces one sun and paints the rest: the grey world and
the other lamps are added to the surface's own colour by the direction it faces, unshadowed. That light has
no noise, so nothing has to be denoised; what is left is antialiasing, for which sub-pixels are rendered
with one sample each and filtered into pixels, each sample serving several of them.

A preset is a ladder of efforts. Each object gets the first that its first view shows to be enough: a smooth
one of `fast` 2 x 2 sub-pixels, one made of spines or leaves up to 4 x 4.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Effort:
    """How many rays a picture gets."""

    samples: int
    """For each pixel, or for each sub-pixel where there are any."""
    oversampling: int = 1
    """Sub-pixels along the side of a pixel; 1 has none."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of the path tracer, of its denoiser and of the filter."""

    efforts: tuple[Effort, ...]
    """From the least to the most; all have sub-pixels, or none has."""
    denoiser_quality: Literal["FAST", "BALANCED", "HIGH"] | None
    """None leaves the picture as it is."""
    sufficient_likeness: float = 1.0
    """Structural similarity to the picture of the most effort at which a lesser one will do."""
    denoiser_prefilter: Literal["NONE", "FAST", "ACCURATE"] = "NONE"
    shading: Literal["traced", "painted"] = "traced"
    diffuse_bounces: int = 1
    glossy_bounces: int = 1
    transparent_bounces: int = 8
    transmission_bounces: int = 3
    """The bounces are allenai/objaverse-rendering's, but for `transparent_bounces`: its 3 turn overlapping
    transparent layers dark, and 8 cost a glass 24 % and other objects nothing (measured 2026-11-23)."""
    filter_width_px: float = 1.5
    """Blackman-Harris, Blender's own default; objaverse-rendering's 0.01 aliases edges."""

    @property
    def has_sub_pixels(self) -> bool:
        return any(effort.oversampling > 1 for effort in self.efforts)

    def with_samples(self, samples: int) -> "Sampling":
        """Return the same with a fixed number of samples for each pixel, or for each sub-pixel."""
        efforts = {replace(effort, samples=samples): None for effort in self.efforts}
        return replace(self, efforts=tuple(efforts))


PRESETS: dict[str, Sampling] = {
    "fast": Sampling(
        efforts=(Effort(1, 2), Effort(1, 3), Effort(1, 4)),
        sufficient_likeness=0.995,
        denoiser_quality=None,
        shading="painted",
    ),
    # BALANCED costs 8 % more than FAST in all and makes up for a third of the samples (measured 2026-11-24).
    "physical": Sampling(
        efforts=(Effort(8), Effort(16), Effort(32)), sufficient_likeness=0.99, denoiser_quality="BALANCED"
    ),
    "reference": Sampling(efforts=(Effort(32),), denoiser_quality="HIGH", denoiser_prefilter="ACCURATE"),
}
