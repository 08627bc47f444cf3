"""What a view's caption should say: the colour from its pixels, the point of view from its camera."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from captions.tiny.vocabulary import ABOVE, COLOURS

ABOVE_DEG: Final = 35.0
"""Elevation from which a view is `from above`."""

ABOVE_BAND_DEG: Final = 5.0
"""Nearer than this to `ABOVE_DEG` a picture does not tell people `from above` from the other words."""

SECTOR_DEG: Final = 50.0
"""Half width of the sectors `from the front` and `from behind`; between them lie the sides."""

SECTOR_BAND_DEG: Final = 10.0
"""Nearer than this to a sector's edge a picture does not tell people which of two words fits."""

NAMED_SHARE: Final = 0.5
"""Share of the foreground that one colour must have to be named."""

CLEAR_SHARE: Final = 0.7
"""Share from which a view counts as clearly coloured in the evaluation."""

OPAQUE: Final = 128
"""Alpha from which a pixel belongs to the object."""

HUES: Final = ((15, "red"), (42, "orange"), (68, "yellow"), (170, "green"), (255, "blue"), (312, "purple"))
"""Upper end in degrees of each colour's hues; pink follows up to 345, then red again."""


def view_phrase(elevation_deg: float, from_front_deg: float | None) -> str:
    """Say from where an object is seen.

    Args:
        elevation_deg: of the camera, in [0, 90].
        from_front_deg: the camera's azimuth minus that of the object's front; None where the object has
            no front, or it is not known.
    """
    if elevation_deg > ABOVE_DEG:
        return ABOVE
    turn_deg = _turn_deg(from_front_deg)
    if turn_deg is None or SECTOR_DEG < turn_deg < 180 - SECTOR_DEG:
        return "from the side"
    return "from the front" if turn_deg <= SECTOR_DEG else "from behind"


def is_between_phrases(elevation_deg: float, from_front_deg: float | None) -> bool:
    """Tell whether a camera stands so near the border of two phrases that both would be fair.

    Such views are neither learned from nor judged. Arguments as for `view_phrase`.
    """
    if abs(elevation_deg - ABOVE_DEG) < ABOVE_BAND_DEG:
        return True
    turn_deg = _turn_deg(from_front_deg)
    if turn_deg is None or elevation_deg > ABOVE_DEG:
        return False
    return any(abs(turn_deg - edge) < SECTOR_BAND_DEG for edge in (SECTOR_DEG, 180 - SECTOR_DEG))


def _turn_deg(from_front_deg: float | None) -> float | None:
    """Return how far a camera stands from the object's front, in [0, 180]."""
    return None if from_front_deg is None else abs((from_front_deg + 180) % 360 - 180)


def dominant_colour(rgba: NDArray[np.uint8]) -> tuple[str, float]:
    """Name the commonest colour of the opaque pixels of (H, W, 4) and its share of them in [0, 1].

    Without opaque pixels the share is 0. Of equally common colours the first in `COLOURS` counts.
    """
    shares = colour_shares(rgba[None])[0]
    return COLOURS[int(shares.argmax())], float(shares.max())


def colour_shares(rgba: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (B, colours): the share of each colour in the opaque pixels of (B, H, W, 4) pictures.

    The shares of a picture sum to 1, or are all 0 where no pixel is opaque.
    """
    opaque = rgba[..., 3] >= OPAQUE  # (B, H, W)
    pictures = np.broadcast_to(np.arange(len(rgba))[:, None, None], opaque.shape)[opaque]
    cells = pictures * len(COLOURS) + name_colours(rgba[..., :3][opaque])
    counts = np.bincount(cells, minlength=len(rgba) * len(COLOURS)).reshape(len(rgba), len(COLOURS))
    shares: NDArray[np.float32] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares.astype(np.float32)


def colour_word(colour: int, share: float) -> str | None:
    """Name the commonest colour, given as index in `COLOURS`, where it covers enough of an object."""
    return COLOURS[colour] if share >= NAMED_SHARE else None


def name_colours(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Give each of (N, 3) sRGB pixels the index in `COLOURS` of its name.

    The limits were set by eye on the renders (2026-11-24): dark pixels need more saturation to look
    coloured; brown is dark orange, dark yellow looks green, beige is pale orange or yellow, pink is also
    pale red. White surfaces in the shade of the `studio` light are 0.65 bright.
    """
    level = rgb.astype(np.float32) / 255
    value, chroma = level.max(axis=1), np.ptp(level, axis=1)  # (N,) in [0, 1]
    saturation = chroma / np.maximum(value, 1e-6)
    hue_deg = _hue_deg(level, value, chroma)
    names = np.select([hue_deg <= end for end, _ in HUES], [COLOURS.index(name) for _, name in HUES], -1)
    names[names < 0] = COLOURS.index("pink")
    names[hue_deg > 345] = COLOURS.index("red")
    warm = (hue_deg > 8) & (hue_deg <= 68)
    names[warm & (saturation <= 0.45) & (value > 0.65)] = COLOURS.index("beige")
    names[warm & (value <= 0.65)] = COLOURS.index("brown")
    names[warm & (value <= 0.65) & (hue_deg > 50)] = COLOURS.index("green")
    pale = (names == COLOURS.index("red")) & (saturation < 0.5) & (value > 0.6)
    names[pale] = COLOURS.index("pink")
    grey = (chroma < 0.08) | (saturation < 0.15)
    names[grey] = COLOURS.index("grey")
    names[grey & (value > 0.62)] = COLOURS.index("white")
    names[(grey & (value < 0.3)) | (value < 0.15)] = COLOURS.index("black")
    return names.astype(np.intp)


def _hue_deg(
    level: NDArray[np.float32], value: NDArray[np.float32], chroma: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the hue of (N, 3) levels in [0, 360); 0 for greys."""
    red, green, blue = level.T
    safe = np.maximum(chroma, 1e-6)
    sector = np.select(
        [value == red, value == green],
        [((green - blue) / safe) % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    hue: NDArray[np.float32] = np.where(chroma > 0, 60 * sector, 0).astype(np.float32)
    return hue
