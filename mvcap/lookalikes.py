"""Which objects look like an earlier one, by their portraits: pure, exact, and in bounded memory.

The distance of two portraits is the root mean square difference of their cells, in steps of 1/255, divided
by the root of the share of the picture that the objects cover, which would otherwise make all slender
objects alike. Colours count: outlines alone hold a basketball for a football. So a copy in other colours is
another object, and so is one that is turned, because the light does not turn with it.

A bound makes it cheap: no distance is less than the difference of the portraits' means. Objects are sorted
by these, and only those within a window of each other are compared, first by a coarse version.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

LIMIT: Final = 2.2
"""Nearer objects are near-duplicates. Calibrated by eye on the 484 labelled models of Sweet Home 3D, 2026-11
(`bench_lookalikes.py`): the 20 nearest pairs, up to 1.96 with `physical` and 1.79 with `fast`, are variants
of one design: a car with and without a spoiler, outlets of several norms in one frame, windows with more
bars. The next, from 2.69 and 2.54 on, differ visibly: a cabinet with drawers and one with a door. Of 25
models, exported as GLB with JPEG textures, 19 are found (20 with `fast`), the others for materials that GLB
does not have; of the same reduced to 70 % of their faces 13 (15)."""
BLOCK: Final = 2048
"""Objects that are compared with as many others at once: 16 MB of distances."""

PORTRAIT_SHAPE: Final = (4, 8, 8, 4)
Portraits = NDArray[np.uint8]
"""(O, *PORTRAIT_SHAPE): see `render.portraits.make_portrait`."""


def first_lookalikes(portraits: Portraits, *, limit: float = LIMIT) -> NDArray[np.int64]:
    """Find for each object the first of all objects before it that it looks like.

    Likeness is no equivalence: A may look like B and B like C while A and C differ. So every object is held
    against all before it, and the objects without a lookalike have none among themselves.

    Returns:
        (O,) index of that object, or -1.
    """
    first = np.full(len(portraits), len(portraits), dtype=np.int64)
    for earlier, later in _near_pairs(portraits, limit):
        np.minimum.at(first, later, earlier)
    return np.where(first < len(portraits), first, -1)


def portrait_distances(one: Portraits, other: Portraits) -> NDArray[np.float32]:
    """Return the distance of each of P pairs of portraits, (P,); infinite where nothing is to be seen."""
    a, b = one.astype(np.float32), other.astype(np.float32)  # (P, 4, 8, 8, 4)
    squares = np.square(a - b).mean(axis=(1, 2, 3, 4))  # (P,)
    covered = (a[..., 3] + b[..., 3]).mean(axis=(1, 2, 3)) / (2 * 255)  # (P,) in [0, 1]
    relative = np.divide(squares, covered, out=np.full_like(squares, np.inf), where=covered > 0)
    return np.asarray(np.sqrt(relative), dtype=np.float32)


def _near_pairs(portraits: Portraits, limit: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the (earlier, later) indices of all pairs within the limit, a block at a time."""
    coarse = _coarse(portraits)  # (O, 128)
    means = coarse.mean(axis=1)  # (O,)
    order = np.argsort(means, kind="stable")
    coarse, means = coarse[order], means[order]
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        end = int(np.searchsorted(means, means[stop - 1] + limit, side="right"))
        for column in range(start, end, BLOCK):
            rows, columns = _candidates(
                coarse, slice(start, stop), slice(column, min(column + BLOCK, end)), limit
            )
            for part in range(0, len(rows), BLOCK):
                i, j = order[rows[part : part + BLOCK]], order[columns[part : part + BLOCK]]
                near = portrait_distances(portraits[i], portraits[j]) <= limit
                yield np.minimum(i, j)[near], np.maximum(i, j)[near]


def _coarse(portraits: Portraits) -> NDArray[np.float32]:
    """Average over opposite sides and over 2 × 2 cells, (O, 128)."""
    cells = portraits.reshape(len(portraits), 2, 2, 4, 2, 4, 2, 4)
    averaged: NDArray[np.float32] = cells.mean(axis=(1, 4, 6), dtype=np.float32)  # (O, 2, 4, 4, 4)
    return averaged.reshape(len(portraits), 128)


def _candidates(
    coarse: NDArray[np.float32], rows: slice, columns: slice, limit: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of rows, each once, whose coarse versions differ by no more than the limit."""
    a, b = coarse[rows], coarse[columns]  # (R, 128), (C, 128)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T  # (R, C)
    slack = 1e-5 * float((a * a).sum(axis=1).max(initial=1.0))  # float32 loses some digits in the difference
    i, j = np.nonzero(squares <= coarse.shape[1] * limit**2 + slack)
    i, j = i + rows.start, j + columns.start
    return i[i < j], j[i < j]
