"""Faces that lie on others, found among those that only look like it."""

import numpy as np

from render.blender_child.doubles import doubled_faces

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)


def found(vertices: np.ndarray, faces: list[list[int]], materials: list[int] | None = None) -> list[int]:
    corners = np.concatenate([np.array(face, np.int32) for face in faces])
    starts = np.cumsum([0, *map(len, faces[:-1])]).astype(np.int32)
    slots = np.array(materials or [0] * len(faces), np.int32)
    return doubled_faces(vertices, corners, starts, slots).tolist()


def test_the_other_side_of_a_sheet_is_a_double_wherever_it_begins():
    assert found(SQUARE, [[0, 1, 2, 3], [2, 1, 0, 3]]) == [1]


def test_a_double_is_found_by_its_places_even_if_it_has_vertices_of_its_own():
    vertices = np.concatenate([SQUARE, SQUARE + np.float32(5), SQUARE[::-1]])
    assert found(vertices, [[0, 1, 2], [4, 5, 6], [11, 10, 9], [8, 9, 10]]) == [2]


def test_another_material_makes_another_face():
    assert found(SQUARE, [[0, 1, 2], [2, 1, 0], [1, 2, 0]], [0, 1, 1]) == [2]


def test_faces_of_equal_centres_are_no_doubles():
    turned = np.array([[0.5, -0.5, 0], [1.5, 0.5, 0], [0.5, 1.5, 0], [-0.5, 0.5, 0]], np.float32)
    assert found(np.concatenate([SQUARE, turned]), [[0, 1, 2, 3], [4, 5, 6, 7]]) == []


def test_an_outline_may_have_one_more_corner_on_an_edge():
    roof = np.array([[0.5, 1.5, 0], [0.5, 0, 0]], np.float32)  # the last lies on the first edge
    assert found(np.concatenate([SQUARE, roof]), [[0, 1, 2, 4, 3], [3, 4, 2, 1, 5, 0]]) == [1]


def test_another_outline_in_the_same_box_is_another_face():
    corners = np.array([[0.5, 1.5, 0], [0.25, 1.5, 0]], np.float32)
    assert found(np.concatenate([SQUARE, corners]), [[0, 1, 2, 4, 3], [0, 1, 2, 4, 5, 3]]) == []


def test_sheets_that_cross_in_the_same_box_are_no_doubles():
    rise = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0.5, 1], [1, 0, 1]], np.float32)
    fall = rise * np.array([1, 1, -1], np.float32) + np.array([0, 0, 1], np.float32)
    assert found(np.concatenate([rise, fall]), [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]) == []
    assert found(np.concatenate([rise, rise]), [[0, 1, 2, 3, 4], [9, 8, 7, 6, 5]]) == [1]


def test_a_stray_vertex_does_not_make_outlines_alike():
    roof = np.array([[0.5, 1.5, 0], [1e6, 0, 0]], np.float32)
    apart = roof[:1] + np.float32(7)
    vertices = np.concatenate([SQUARE, roof, SQUARE + np.float32(7), apart])
    assert found(vertices, [[0, 1, 2, 4, 3], [6, 7, 8, 10, 9]]) == []


def test_nothing_has_no_doubles():
    assert doubled_faces(SQUARE, *[np.zeros(0, np.int32)] * 3).tolist() == []
