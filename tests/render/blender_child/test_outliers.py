"""Strays are told from objects that are merely long."""

import numpy as np
import pytest

from render.blender_child.outliers import outlier_vertices

CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


@pytest.mark.parametrize("far", [1e3, 1e6, 1e30, -1e6])
def test_one_stray_vertex_of_a_cube_is_found_wherever_the_cube_stands(far):
    for place in (0.0, 50.0):
        vertices = np.concatenate([CUBE + place, [[0.0, far, 0.0]]])
        assert outlier_vertices(vertices).tolist() == [False] * 8 + [True]


def test_a_long_pole_with_a_dense_lamp_on_it_is_whole():
    rng = np.random.default_rng(0)
    lamp = rng.normal(loc=(0.0, 0.0, 4.0), scale=0.05, size=(5000, 3))
    pole = np.array([[x, y, z] for x in (-0.02, 0.02) for y in (-0.02, 0.02) for z in (0.0, 4.0)])
    assert not outlier_vertices(np.concatenate([lamp, pole])).any()


def test_nothing_far_away_is_a_stray_where_it_is_a_third_of_all():
    assert not outlier_vertices(np.concatenate([CUBE, CUBE[:4] + 1e6])).any()


def test_nothing_is_a_stray_where_there_is_no_core():
    assert outlier_vertices(np.empty((0, 3))).shape == (0,)
    assert not outlier_vertices(np.concatenate([np.zeros((9, 3)), [[1.0, 0.0, 0.0]]])).any()


def test_the_answer_does_not_depend_on_units():
    vertices = np.concatenate([CUBE, [[0.0, 1e6, 0.0]]])
    for scale in (1e-9, 1e-3, 1e9):
        assert (outlier_vertices(vertices * scale) == outlier_vertices(vertices)).all()
