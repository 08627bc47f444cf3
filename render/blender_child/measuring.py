"""Measure what will be rendered, and delete the vertices that must not decide how large it is."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import bmesh  # type: ignore[import-not-found]
import bpy
import numpy as np
from numpy.typing import NDArray

from render.blender_child.outliers import MOST_FACES, outlier_vertices


class Part(NamedTuple):
    """A mesh in one of its places in the world."""

    item: Any
    """The object as imported, before modifiers and armatures."""
    vertices: NDArray[np.float64]
    """(N, 3) in the world, as they will be rendered; not always those of `item.data`, one by one."""
    corners: NDArray[np.int32]
    """(C,) vertex of each corner of each face."""
    faces: NDArray[np.int32]
    """(F,) first corner of each face."""

    @property
    def used(self) -> NDArray[np.bool_]:
        """(N,) whether a vertex belongs to a face."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.corners] = True
        return used


def rendered_parts() -> Iterator[Part]:
    """Go through everything that will be rendered, as modifiers, armatures and instances leave it."""
    bpy.context.view_layer.update()
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        item = instance.object
        if item.type == "MESH" and not item.hide_render:
            mesh, matrix = item.data, np.array(instance.matrix_world)
            corners, faces = outlines(mesh)
            vertices = coordinates(mesh) @ matrix[:3, :3].T + matrix[:3, 3]
            yield Part(item.original, vertices, corners, faces)


def coordinates(mesh: Any) -> NDArray[np.float32]:
    flat = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)  # (N, 3)


def outlines(mesh: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the vertex of each corner, (C,), and the first corner of each face, (F,)."""
    corners = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    faces = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_start", faces)
    return corners, faces


def measure() -> tuple[int, NDArray[np.float64]]:
    """Count the triangles and gather the (N, 3) world vertices of everything that will be rendered.

    Vertices that belong to no face do not count.
    """
    triangles, vertices = 0, [np.empty((0, 3))]
    for part in rendered_parts():
        vertices.append(part.vertices[part.used])
        triangles += len(part.corners) - 2 * len(part.faces)
    return triangles, np.concatenate(vertices)


def delete_nonfinite_vertices() -> int:
    """Delete vertices with NaN or infinite coordinates and the faces on them; return how many."""
    count = 0
    for mesh in bpy.data.meshes:
        bad = ~np.isfinite(coordinates(mesh)).all(axis=1)
        delete_vertices(mesh, bad)
        mesh.validate()
        count += int(bad.sum())
    return count


def delete_outlier_faces() -> int:
    """Delete faces with a vertex that is wildly far from all others; return how many.

    Does nothing where they are too many to be strays, or where a modifier has made other vertices of a
    mesh than it was imported with.
    """
    parts = [part for part in rendered_parts() if len(part.faces)]
    far = outlier_vertices(np.concatenate([np.empty((0, 3)), *(part.vertices[part.used] for part in parts)]))
    if not far.any():
        return 0
    doomed = list(marked_vertices(parts, far))
    faces = sum(
        int(np.logical_or.reduceat(marked[part.corners], part.faces).sum())
        for part, marked in zip(parts, doomed, strict=True)
    )
    remade = any(len(part.item.data.vertices) != len(part.vertices) for part in parts)
    if remade or faces > MOST_FACES * sum(len(part.faces) for part in parts):
        return 0
    for part, marked in zip(parts, doomed, strict=True):
        if marked[part.used].all():
            part.item.hide_render = True  # its mesh may stand in a good place as well
        elif len(marked) == len(part.item.data.vertices):  # else cleaned already, in another place
            delete_vertices(part.item.data, marked)
    return faces


def marked_vertices(parts: list[Part], far: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Cut a mask of all used vertices into one for each part, (N,), that covers its unused ones as well."""
    start = 0
    for part in parts:
        used = part.used
        marked = np.zeros(len(used), dtype=bool)
        marked[used] = far[start : (start := start + int(used.sum()))]
        yield marked


def delete_vertices(mesh: Any, doomed: NDArray[np.bool_]) -> None:
    """Delete the marked vertices, (N,), of a mesh and the faces on them."""
    if doomed.any():
        editable = bmesh.new()
        editable.from_mesh(mesh)
        editable.verts.ensure_lookup_table()
        geometry = [editable.verts[index] for index in np.flatnonzero(doomed)]
        bmesh.ops.delete(editable, geom=geometry, context="VERTS")
        editable.to_mesh(mesh)
        editable.free()
