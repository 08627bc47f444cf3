"""Category vectors from files of others, and our own."""

import json
from pathlib import Path

import numpy as np
import pytest

from mvcap.embeddings.vectors import CategoryVectors, read_lines, read_vectors, write_vectors
from mvcap.errors import EmbeddingsError

MATRIX = np.array([[3, 4], [0, 2], [-1, 0]], np.float16)


def npy(folder: Path, matrix: np.ndarray = MATRIX, names: str | None = "chair\ntable\ncar\n") -> Path:
    np.save(folder / "v.npy", matrix)
    if names is not None:
        (folder / "v.names.txt").write_text(names)
    return folder / "v.npy"


def test_vectors_are_normalised_and_named_by_the_file_beside_them(tmp_path: Path):
    found = read_vectors(npy(tmp_path), None)
    assert found.names == ("chair", "table", "car")
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [0, 1], [-1, 0]], atol=1e-6)


def test_categories_pick_their_rows(tmp_path: Path):
    found = read_vectors(npy(tmp_path), ["car", "chair"])
    assert found.names == ("car", "chair")
    np.testing.assert_allclose(found.vectors, [[-1, 0], [0.6, 0.8]], atol=1e-6)


def test_safetensors_are_read_back_with_their_names(tmp_path: Path):
    ours = CategoryVectors(("stuhl", "\u0441\u0442\u043e\u043b"), np.eye(2, dtype=np.float32))
    write_vectors(tmp_path / "v.safetensors", ours)
    found = read_vectors(tmp_path / "v.safetensors", None)
    assert found.names == ours.names
    assert found.vectors.tolist() == [[1, 0], [0, 1]]


def test_without_names_the_categories_give_them_by_their_order(tmp_path: Path):
    path = npy(tmp_path, names=None)
    assert read_vectors(path, ["a", "b", "c"]).names == ("a", "b", "c")
    with pytest.raises(EmbeddingsError, match=r"2 categories are: put the names into v\.names\.txt"):
        read_vectors(path, ["a", "b"])
    with pytest.raises(EmbeddingsError, match="no list of categories was given"):
        read_vectors(path, None)


def test_contradictions_are_refused(tmp_path: Path):
    with pytest.raises(EmbeddingsError, match="3 vectors but 2 names"):
        read_vectors(npy(tmp_path, names="a\nb\n"), None)
    with pytest.raises(EmbeddingsError, match="several vectors for 'a'"):
        read_vectors(npy(tmp_path, names="a\nb\na\n"), None)
    with pytest.raises(EmbeddingsError, match="no vectors for 1 of 2 categories, such as 'lamp'"):
        read_vectors(npy(tmp_path), ["chair", "lamp"])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_named(tmp_path: Path, bad: float):
    matrix = np.array([[1, 0], [bad, 0], [0, 1]], np.float32)
    with pytest.raises(EmbeddingsError, match="without direction: that of 'table'"):
        read_vectors(npy(tmp_path, matrix), None)


def test_object_arrays_are_never_loaded(tmp_path: Path):
    with pytest.raises(EmbeddingsError, match="cannot read the category vectors"):
        read_vectors(npy(tmp_path, np.array([["a", 1]], object)), None)


@pytest.mark.parametrize(("whole", "damaged"), [(b"}", b" "), (b"\x93NUMPY", b"PK\x03\x04xx")])
def test_a_damaged_array_is_refused(tmp_path: Path, whole: bytes, damaged: bytes):
    path = npy(tmp_path, np.eye(3))
    path.write_bytes(path.read_bytes().replace(whole, damaged))
    with pytest.raises(EmbeddingsError, match="cannot read the category vectors"):
        read_vectors(path, None)


def test_damaged_and_unknown_files_are_refused(tmp_path: Path):
    (tmp_path / "v.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(EmbeddingsError, match="is damaged"):
        read_vectors(tmp_path / "v.safetensors", None)
    with pytest.raises(EmbeddingsError, match=r"read from .npy or .safetensors files"):
        read_vectors(tmp_path / "v.pt", None)


def test_a_safetensors_without_the_tensor_names_what_it_has(tmp_path: Path):
    from safetensors.numpy import save_file

    save_file({"weights": np.eye(2)}, tmp_path / "v.safetensors", {"names": json.dumps(["a", "b"])})
    with pytest.raises(EmbeddingsError, match=r"no tensor 'vectors' \(it has: weights\)"):
        read_vectors(tmp_path / "v.safetensors", None)


def test_a_list_may_have_a_byte_order_mark_crlf_and_blank_lines(tmp_path: Path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfchair\r\n\r\n  table \r\n")
    assert read_lines(tmp_path / "list.txt") == ["chair", "table"]
    (tmp_path / "list.txt").write_bytes(b"\r\n\r\n")
    with pytest.raises(EmbeddingsError, match="is empty"):
        read_lines(tmp_path / "list.txt")
