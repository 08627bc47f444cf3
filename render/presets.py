"""How much work a picture gets, and what its light is made of, by name: pure data.

`physical` and `reference` trace all light. `fast` traces one sun and paints the rest: the grey world and
the other lamps are added to the surface's own colour by the direction it faces, unshadowed. That light has
no noise, so nothing has to be denoised; what is left is antialiasing, for which sub-pixels are rendered
with one sample each and filtered into pixels, each sample serving several of them. How many an object
needs is found out from its first view: a smooth one 2 x 2, one made of spines or leaves up to 4 x 4.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of the path tracer, of its denoiser and of the filter."""

    samples: int
    """For each pixel, or for each sub-pixel where there are any."""
    denoiser_quality: Literal["FAST", "BALANCED", "HIGH"] | None
    """None leaves the picture as it is."""
    denoiser_prefilter: Literal["NONE", "FAST", "ACCURATE"] = "NONE"
    shading: Literal["traced", "painted"] = "traced"
    oversampling: tuple[int, ...] = (1,)
    """Sub-pixels along the side of a pixel: the choices, from which each object gets the first that is good
    enough for it (`render.similarity`)."""
    diffuse_bounces: int = 1
    glossy_bounces: int = 1
    transparent_bounces: int = 8
    transmission_bounces: int = 3
    """The bounces are allenai/objaverse-rendering's, but for `transparent_bounces`: its 3 turn overlapping
    transparent layers dark, and 8 cost a glass 24 % and other objects nothing (measured 2026-11-23)."""
    filter_width_px: float = 1.5
    """Blackman-Harris, Blender's own default; objaverse-rendering's 0.01 aliases edges."""


PRESETS: dict[str, Sampling] = {
    "fast": Sampling(samples=1, denoiser_quality=None, shading="painted", oversampling=(2, 3, 4)),
    "physical": Sampling(samples=16, denoiser_quality="FAST"),
    "reference": Sampling(samples=32, denoiser_quality="HIGH", denoiser_prefilter="ACCURATE"),
}
