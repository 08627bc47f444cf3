"""Mend surfaces that path tracing shows black, and that other ways of drawing do not mind."""

from math import radians
from typing import Any

import bmesh  # type: ignore[import-not-found]
import bpy
import numpy as np
from numpy.typing import NDArray

from render.blender_child.doubles import doubled_faces
from render.blender_child.measuring import coordinates, outlines

MOST_CONTRADICTIONS = 0.01
"""Share of a mesh's corners whose normals may point to the other side than their faces do."""
SMOOTH_BELOW_DEG = 30.0
"""Angle between faces that are shaded as one surface where the file's normals are of no use; Blender's own
choice for that."""


def mend_surfaces() -> None:
    """Leave every sheet of faces once, wound one way, with normals on the side to which it is wound.

    A face that lies on another is in its shadow all over; and a normal that points to the back of its face
    takes light from there alone, which the face itself keeps off. Meshes that have neither are left alone. Of
    820 furniture models 169 have doubled faces, people and kitchen machines among them, and 80 such normals
    (measured 2026-11-26).
    """
    for mesh in bpy.data.meshes:
        doubled = doubled_faces(coordinates(mesh), *outlines(mesh), material_slots(mesh))
        if len(doubled) or contradictions(mesh) > MOST_CONTRADICTIONS:
            make_consistent(mesh, doubled)


def contradictions(mesh: Any) -> float:
    """Return the share of the corners whose normal points away from their face's, in [0, 1].

    The faces' are taken from how they are wound: Blender 4.5 tells others after an import with normals.
    """
    corners, starts = outlines(mesh)
    if not len(corners):
        return 0.0
    faces = np.repeat(
        wound_normals(coordinates(mesh), corners, starts), corners_of_each(corners, starts), axis=0
    )
    normals = np.empty(len(corners) * 3, dtype=np.float32)
    mesh.corner_normals.foreach_get("vector", normals)
    return float(((normals.reshape(-1, 3) * faces).sum(axis=1) < 0).mean())


def wound_normals(
    vertices: NDArray[np.float32], corners: NDArray[np.int32], starts: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the (F, 3) normals of faces, of any length, on the side from which they turn to the left."""
    following = np.arange(1, len(corners) + 1)
    following[np.append(starts[1:], len(corners)) - 1] = starts
    places = vertices[corners].astype(np.float64)  # (C, 3)
    places -= np.repeat(places[starts], corners_of_each(corners, starts), axis=0)
    return np.add.reduceat(np.cross(places, places[following]), starts, axis=0)


def corners_of_each(corners: NDArray[np.int32], starts: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.diff(np.append(starts, len(corners)))


def make_consistent(mesh: Any, doomed: NDArray[np.int64]) -> None:
    """Delete some faces, wind the others alike, and make normals anew."""
    if custom := mesh.attributes.get("custom_normal"):
        mesh.attributes.remove(custom)
    editable = bmesh.new()
    editable.from_mesh(mesh)
    editable.faces.ensure_lookup_table()
    bmesh.ops.delete(editable, geom=[editable.faces[face] for face in doomed], context="FACES_ONLY")
    bmesh.ops.recalc_face_normals(editable, faces=editable.faces)
    editable.to_mesh(mesh)
    editable.free()
    mesh.set_sharp_from_angle(angle=radians(SMOOTH_BELOW_DEG))


def material_slots(mesh: Any) -> NDArray[np.int32]:
    slots = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    return slots
