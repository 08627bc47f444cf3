"""Files of embeddings as OpenShape publishes them, and files that must not be trusted."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mvcap.embeddings.arrays import read_embeddings, write_embeddings
from mvcap.embeddings.openshape import require_fit
from mvcap.errors import EmbeddingsError, MissingExtraError

torch = pytest.importorskip("torch")


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("kind", ["int8", "float16", "bfloat16", "float32"])
def test_the_published_format_is_read_in_any_number_type(tmp_path: Path, kind: str):
    features = torch.arange(12).reshape(4, 3).to(getattr(torch, kind))
    found = read_embeddings(saved(tmp_path / "e.pt", {"us": list("abcd"), "feats": features}))
    assert (list(found.source_ids), found.dimensions, found.repeated) == (list("abcd"), 3, ())
    assert found.chunk(1, 3).astype(float).tolist() == [[3, 4, 5], [6, 7, 8]]


def test_rows_are_mapped_from_the_file_and_not_read_at_once(tmp_path: Path):
    path = saved(tmp_path / "e.pt", {"us": ["a"], "feats": torch.zeros(1, 3, dtype=torch.int8)})
    found = read_embeddings(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    assert found.chunk(0, 1).tolist() == [[0, 0, 0]]


def test_a_file_of_an_older_torch_is_read_as_well(tmp_path: Path):
    content = {"us": ["a"], "feats": torch.ones(1, 3)}
    path = saved(tmp_path / "e.pt", content, _use_new_zipfile_serialization=False)
    assert read_embeddings(path).chunk(0, 1).tolist() == [[1, 1, 1]]


class Touch:
    """Pickles to code that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_not_executed(tmp_path: Path, legacy: bool):
    content = {"us": ["a"], "feats": torch.ones(1, 3), "extra": Touch(tmp_path / "executed")}
    path = saved(tmp_path / "e.pt", content, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(EmbeddingsError, match=r"e\.pt is damaged, or holds more than tensors and text"):
        read_embeddings(path)
    assert not (tmp_path / "executed").exists()


def test_a_bare_pickle_is_not_executed(tmp_path: Path):
    (tmp_path / "e.pt").write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    with pytest.raises(EmbeddingsError, match="never executed"):
        read_embeddings(tmp_path / "e.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("key", ["us", "feats"])
def test_an_object_array_is_refused_and_its_key_named(tmp_path: Path, key: str):
    content = {"us": np.array(["a"]), "feats": np.ones((1, 3))}
    content[key] = np.array([Touch(tmp_path / "executed")], object)
    np.savez(tmp_path / "e.npz", **content)
    with pytest.raises(EmbeddingsError, match=f"holds Python objects under '{key}'"):
        read_embeddings(tmp_path / "e.npz")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"us": ["a"]}, r"has no key 'feats' \(it has: us\)"),
        ({"feats": torch.ones(1, 3)}, "has no key 'us'"),
        ({"us": [1], "feats": torch.ones(1, 3)}, "something else than a list of text under 'us'"),
        ({"us": ["a"], "feats": torch.ones(3)}, r"under 'feats', not float32 of shape \(3,\)"),
        ({"us": ["a"], "feats": [1.0]}, "under 'feats', not list"),
        ({"us": ["a", "b"], "feats": torch.ones(1, 3)}, "2 ids under 'us' but 1 rows of 'feats'"),
        (torch.ones(2, 3), "holds a Tensor, not a dict"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_named(tmp_path: Path, content: Any, said: str):
    with pytest.raises(EmbeddingsError, match=said):
        read_embeddings(saved(tmp_path / "e.pt", content))


def test_a_truncated_file_is_refused(tmp_path: Path):
    path = saved(tmp_path / "e.pt", {"us": ["a"], "feats": torch.ones(100, 30)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(EmbeddingsError, match="damaged"):
        read_embeddings(path)


def test_an_archive_that_does_not_unpack_is_refused(tmp_path: Path):
    path = tmp_path / "e.npz"
    np.savez_compressed(path, us=np.array(["a"]), feats=np.ones((1, 4), np.float32))
    data = path.read_bytes()
    begin = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    path.write_bytes(data[:begin] + b"\xff" + data[begin + 1 :])  # no such kind of block
    with pytest.raises(EmbeddingsError, match="damaged"):
        read_embeddings(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(EmbeddingsError, match=r"no file of embeddings .*gone\.pt"):
        read_embeddings(tmp_path / "gone.pt")


def test_repeated_ids_are_found_and_conflicting_ones_shown(tmp_path: Path):
    features = torch.tensor([[1, 2], [3, 4], [1, 2]], dtype=torch.int8)
    found = read_embeddings(saved(tmp_path / "e.pt", {"us": ["a", "b", "a"], "feats": features}))
    assert found.repeated == (2,)
    with pytest.raises(EmbeddingsError, match=r"'b' two different .* rows 0 and 1: \[1, 2\].* and \[3, 4\]"):
        read_embeddings(saved(tmp_path / "e.pt", {"us": ["b", "b"], "feats": features[:2]}))


def test_our_own_file_is_read_back(tmp_path: Path):
    write_embeddings(tmp_path / "own.npz", ["a", "\u0441"], np.array([[1, 2], [3, 4]], np.float32))
    found = read_embeddings(tmp_path / "own.npz")
    assert list(found.source_ids) == ["a", "\u0441"]
    assert found.chunk(0, 2).tolist() == [[1, 2], [3, 4]]


def test_vectors_of_another_encoder_are_refused_with_the_one_that_fits():
    require_fit(1280, 1280)
    with pytest.raises(EmbeddingsError, match="ViT-bigG-14 laion2b_s39b_b160k instead of ViT-L-14"):
        require_fit(1280, 768)


def test_without_torch_the_extra_that_brings_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path / "e.pt", {"us": ["a"], "feats": torch.ones(1, 3)})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"reading e\.pt needs the Python module 'torch': .*captions"):
        read_embeddings(path)
