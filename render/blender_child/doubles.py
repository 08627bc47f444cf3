"""Which faces lie on an earlier face of the same material, all over. Pure.

Files that mean a sheet to be seen from both sides often hold it twice, once for each side. Our surfaces have
two sides anyway, and a face that touches another all over lies in its shadow: black triangles.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

DIRECTION = np.array([0.5773, 0.2113, 0.7886])
"""On which the sums of coordinates are projected to one number; any that no mesh is aligned with."""
QUADRANGLE = 4
OUTLINE_STEPS = 1e4
"""To the mesh's size: how finely two outlines are told apart."""


def doubled_faces(
    vertices: NDArray[np.float32],
    corners: NDArray[np.int32],
    starts: NDArray[np.int32],
    materials: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Return the indices, sorted, of faces with the material and the corners or outline of an earlier one.

    Args:
        vertices: (N, 3).
        corners: (C,) vertex of each corner of each face.
        starts: (F,) first corner of each face.
        materials: (F,) slot of each face.
    """
    if not len(starts):
        return np.zeros(0, dtype=np.int64)
    # Sums of a few float32 in float64 are exact, so they do not depend on where a face begins.
    sums = np.add.reduceat(vertices[corners].astype(np.float64), starts, axis=0) @ DIRECTION  # (F,)
    order = np.argsort(sums, kind="stable")
    equal = np.flatnonzero(np.diff(sums[order]) == 0)
    suspects = np.unique(np.concatenate([order[equal], order[equal + 1]]))
    ends = np.append(starts[1:], len(corners))
    size = float(np.ptp(vertices[corners], axis=0).max()) or 1.0  # a stray vertex has no say
    many = np.flatnonzero(ends - starts > QUADRANGLE)
    seen: set[tuple[int, bytes]] = set()
    doubled = set()
    for describe, faces in ((corners_of, suspects), (partial(outline_of, size=size), many)):
        for face in faces:
            key = (int(materials[face]), describe(vertices[corners[starts[face] : ends[face]]]))
            if key in seen:
                doubled.add(int(face))
            seen.add(key)
    return np.array(sorted(doubled), dtype=np.int64)


def corners_of(points: NDArray[np.float32]) -> bytes:
    """Describe a face, (P, 3), by its corners in an order of their own."""
    ordered: NDArray[np.float32] = points[np.lexsort(points.T)]
    return ordered.tobytes()


def outline_of(points: NDArray[np.float32], *, size: float) -> bytes:
    """Describe a face, (P, 3), by the box around it and its area in each direction, from whichever side.

    Those of many corners have, seen from the other side, often one more on an edge.
    """
    relative = (points.astype(np.float64) - points.min(axis=0)) / size
    area = np.cross(relative, np.roll(relative, -1, axis=0)).sum(axis=0) / 2  # (3,)
    area *= np.sign(area[np.abs(area).argmax()])
    box = np.concatenate([points.min(axis=0), points.max(axis=0)]) / size
    steps: NDArray[np.int64] = np.rint(np.concatenate([box, area]) * OUTLINE_STEPS).astype(np.int64)
    return steps.tobytes()
