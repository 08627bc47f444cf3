"""Is there something to see? Checks of a rendered picture before it is stored: pure."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER, Reason
from mvcap.records import AssetFacts

BLANK_COVERAGE: Final = 0.002
"""Share of the picture: 100 pixels at 224 px, 10 x 10 of a sheet seen edge-on. Below it nobody can name
an object."""
SOLID_ALPHA: Final = 128
"""Alpha from which a pixel is the object's and not the antialiased edge's."""
BLACK_LEVEL: Final = 12
"""Of 255. Black paint (albedo 0) still reflects 4 % of the studio's ambient light, about 25. What stays
darker is a silhouette: 2 of 137 furniture models, whose materials have neither colour nor gloss (measured
2026-11)."""
BURNT_LEVEL: Final = 254
BURNT_SHARE: Final = 0.5
"""Half of the object without any texture left; a white one (albedo 0.8) under the studio light has none."""

OVER_EXPOSED_SHARE: Final = 0.05
"""Of the object burnt out. The studio light stays below 0.021 on all of 364 views of 91 furniture models;
objaverse's light exceeds it on white boards and bare wire, 4 of 364 (measured 2026-11-24)."""
UNDER_EXPOSED_SHARE: Final = 0.5
"""Of the object below `BLACK_LEVEL`: 2 of those 364 views, both of a marker's black cap. A snowman with a
black hat has 0.29 (measured 2026-11-24)."""
TINY_COVERAGE: Final = 1 / 49
"""Share of the picture: one of the 7 x 7 patches into which CLIP ViT-B/32 cuts it. Of those 364 views 9 have
less: forks, coat hangers, a glass door from the side (measured 2026-11-24)."""

Flag = Literal["over_exposed", "under_exposed", "tiny_subject", "clipped", "untextured"]
"""What is worth knowing of a picture that is good enough to be stored."""
BAD_FLAGS: Final[frozenset[Flag]] = frozenset({"over_exposed", "clipped"})
"""Those that speak against a picture rather than tell what its object is like. Of 820 furniture models, four
views each, 15 were tiny in most of them and 8 dark: brooms, pencils, lamp posts, a piano, induction cookers,
all easy to name but for painted parking bays (looked at, 2026-11-24)."""
Flaw = Literal["blank", "black", "burnt"]
"""Why a picture is rejected."""
REASONS: Final[dict[Flaw, Reason]] = {"blank": EMPTY_RENDER, "black": BAD_VIEWS, "burnt": BAD_VIEWS}


def foreground_fraction(rgba: NDArray[np.uint8]) -> float:
    """Return the share of the picture, (H, W, 4), that the object covers, in [0, 1]."""
    return float(rgba[..., 3].mean() / 255)


def burnt_out_share(rgba: NDArray[np.uint8]) -> float:
    """Return the share of the object's pixels whose three channels are all clipped, in [0, 1]."""
    object_pixels = rgba[rgba[..., 3] >= SOLID_ALPHA][:, :3]  # (N, 3)
    return float((object_pixels.min(axis=1) >= BURNT_LEVEL).mean()) if len(object_pixels) else 0.0


def black_share(rgba: NDArray[np.uint8]) -> float:
    """Return the share of the object's pixels that are black, in [0, 1]."""
    object_pixels = rgba[rgba[..., 3] >= SOLID_ALPHA][:, :3]  # (N, 3)
    return float((object_pixels.max(axis=1) < BLACK_LEVEL).mean()) if len(object_pixels) else 0.0


def touches_edge(rgba: NDArray[np.uint8]) -> bool:
    """Tell whether a pixel of the object lies on the picture's rim, where it may go on unseen."""
    solid = rgba[..., 3] >= SOLID_ALPHA  # (H, W)
    return bool(solid[[0, -1]].any() or solid[:, [0, -1]].any())


def is_nearly_black(rgba: NDArray[np.uint8]) -> bool:
    """Tell whether even the brightest hundredth of the object is black."""
    object_pixels = rgba[rgba[..., 3] >= SOLID_ALPHA][:, :3]  # (N, 3)
    if not len(object_pixels):
        return False
    return bool(np.quantile(object_pixels.max(axis=1), 0.99) < BLACK_LEVEL)


def find_flaw(rgba: NDArray[np.uint8]) -> Flaw | None:
    """Return the first flaw of a picture, (H, W, 4) with straight alpha, or None."""
    if foreground_fraction(rgba) < BLANK_COVERAGE:
        return "blank"
    if is_nearly_black(rgba):
        return "black"
    if burnt_out_share(rgba) > BURNT_SHARE:
        return "burnt"
    return None


def find_flags(rgba: NDArray[np.uint8], facts: AssetFacts | None = None) -> tuple[Flag, ...]:
    """Return every flag of a picture, (H, W, 4) with straight alpha, in the order of `Flag`.

    Args:
        facts: of the object, where they are known; they alone decide `untextured`.
    """
    raised: dict[Flag, bool] = {
        "over_exposed": burnt_out_share(rgba) > OVER_EXPOSED_SHARE,
        "under_exposed": black_share(rgba) > UNDER_EXPOSED_SHARE,
        "tiny_subject": foreground_fraction(rgba) < TINY_COVERAGE,
        "clipped": touches_edge(rgba),
        "untextured": facts is not None and facts.untextured,
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a picture."""

    flaw: Flaw | None
    """Why it is rejected."""
    flags: tuple[Flag, ...]

    @property
    def is_bad(self) -> bool:
        """Whether the picture counts against its object."""
        return self.flaw is not None or not BAD_FLAGS.isdisjoint(self.flags)

    @property
    def faults(self) -> tuple[str, ...]:
        """Name what counts against the object: the flaw, or else the flags that do."""
        return (self.flaw,) if self.flaw else tuple(flag for flag in self.flags if flag in BAD_FLAGS)


def judge_picture(rgba: NDArray[np.uint8], facts: AssetFacts | None = None) -> Verdict:
    """Look for flaws and flags in a picture, (H, W, 4) with straight alpha."""
    return Verdict(find_flaw(rgba), find_flags(rgba, facts))
