"""The light rigs by name: pure data.

A rig is fixed to the world, not to the camera: one side of the object is brighter than the other, and
views of the same object agree about which.
"""

from dataclasses import dataclass
from typing import Literal

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sun:
    """Parallel light."""

    towards: Vector
    """World direction from the object to the sun."""
    irradiance: float
    """W/m² on a surface that faces the sun; a white diffuse surface then reflects irradiance / pi."""
    angle_deg: float
    """Apparent diameter: the larger, the softer the shadows."""
    kind: Literal["sun"] = "sun"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A square area light above the object that shines straight down; cameras do not see it."""

    height: float
    side: float
    """World units."""
    power_w: float
    kind: Literal["ceiling"] = "ceiling"


@dataclass(frozen=True, slots=True)
class LightRig:
    """Everything that shines on an object."""

    ambient: float
    """Radiance of the grey world; a transparent film keeps it out of the picture."""
    lamps: tuple[Sun | Ceiling, ...]


RIGS: dict[str, LightRig] = {
    # Ours. A diffuse surface of albedo 0.8 that faces the key has radiance 0.8 * (0.30 + 1.8 / pi) = 0.70,
    # which is 218 of 255 after sRGB; one of albedo 1 has 240, and 0.8 in full shade 134. Key and fill are
    # more than 90 degrees apart, so that no surface gets the whole of both. Chosen by eye among four rigs
    # on white, dark, textured and glass furniture (2026-11).
    "studio": LightRig(
        ambient=0.30,
        lamps=(
            Sun(towards=(0.55, -0.60, 0.80), irradiance=1.8, angle_deg=12.0),
            Sun(towards=(-0.80, 0.50, 0.30), irradiance=0.8, angle_deg=40.0),
        ),
    ),
    # The paper's, from allenai/objaverse-rendering: one 100 x 100 area light of 30 kW at the object's
    # top, in the grey world of Blender's start-up file.
    "objaverse": LightRig(ambient=0.05, lamps=(Ceiling(height=0.5, side=100.0, power_w=30000.0),)),
}
