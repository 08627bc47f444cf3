"""The bank: what was written is found again, and anchors from it are those of the whole."""

import resource
import shutil

import pytest
import torch
from torch.nn import functional as F

from mvcap.errors import DiskFullError
from training import feature_bank
from training.anchors import maximise
from training.feature_bank import FeatureBank


def test_anchors_of_chunks_are_those_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_bank, "VIEWS_AT_ONCE", 7)
    counts = torch.tensor([3, 1, 20, 0, 2, 5, 9])
    features = F.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    eligible = torch.rand(40, generator=torch.Generator().manual_seed(1)) > 0.4
    bank = FeatureBank(tmp_path / "bank", 40, 16)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    for rows in order.split(11):
        bank.write(rows, features[rows])
    options = {"outliers_per_object": 3, "weights": "paper", "eligible": eligible}
    found = bank.maximise(counts, device=torch.device("cpu"), **options)
    whole = maximise(features.half(), counts, **options)
    assert torch.allclose(found.anchors, whole.anchors, atol=1e-7)
    assert torch.equal(found.outliers, whole.outliers)


def test_a_disk_without_room_for_it_is_told_before_anything_is_encoded(tiny_disk):
    with pytest.raises(DiskFullError, match="disk/bank"):
        FeatureBank(tiny_disk / "bank", 1000, 64)
    (tiny_disk / "bank").unlink(missing_ok=True)
    bank = FeatureBank(tiny_disk / "bank", 10, 64)
    (tiny_disk / "rest").write_bytes(b"0" * shutil.disk_usage(tiny_disk).free)
    bank.write(torch.arange(10), torch.ones(10, 64))  # its room is its own
    assert (bank.read(0, 10) == 1).all()


def test_it_is_kept_and_put_back(tmp_path):
    bank = FeatureBank(tmp_path / "bank", 4, 2)
    first = torch.arange(8.0).view(4, 2)
    bank.write(torch.arange(4), first)
    bank.save(tmp_path / "copy")
    bank.write(torch.tensor([2]), torch.tensor([[9.0, 9.0]]))
    assert FeatureBank(tmp_path / "bank", 4, 2).read(2, 3).tolist() == [[9, 9]]
    bank.restore(tmp_path / "copy")
    assert torch.equal(bank.read(0, 4), first.half())
    assert FeatureBank(tmp_path / "bank", 5, 2).read(0, 5).abs().sum() == 0, "another size begins anew"


def test_writing_all_of_a_large_bank_takes_no_memory(tmp_path):
    views, width = 200_000, 256  # 102 MB
    bank = FeatureBank(tmp_path / "bank", views, width)
    features = torch.ones(1000, width)
    before = _resident()
    for start in range(0, views, 1000):
        bank.write(torch.arange(start, start + 1000), features)
        bank.read(start, start + 1000)
    assert _resident() - before < 30e6


def _resident() -> float:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()
