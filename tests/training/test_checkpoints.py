"""Checkpoints: everything is put back, a torn one is passed over, nothing is pickled."""

import json

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from mvcap.errors import CorruptDatasetError, DiskFullError
from training.checkpoints import (
    MODEL,
    OPTIMISER,
    STATE,
    forget_old,
    latest_checkpoint,
    restore,
    save_checkpoint,
    trained_tensors,
)


def make(seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    return module, torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.1)


def step(module, optimiser):
    optimiser.zero_grad()
    (module(torch.rand(5, 3)) ** 2).sum().backward()
    optimiser.step()


def test_a_restored_run_goes_on_to_the_last_bit(tmp_path):
    module, optimiser = make()
    for _ in range(3):
        step(module, optimiser)
    save_checkpoint(tmp_path, 3, module, optimiser, {"note": 1})
    other, other_optimiser = make(seed=0)
    found = latest_checkpoint(tmp_path)
    assert (found.step, found.facts) == (3, {"note": 1})
    restore(found, other, other_optimiser)
    for each in ((other, other_optimiser), (module, optimiser)):
        torch.manual_seed(7)
        for _ in range(3):
            step(*each)
    pairs = zip(module.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_what_is_frozen_is_not_stored_and_nothing_is_pickled(tmp_path):
    module, optimiser = make()
    step(module, optimiser)
    folder = save_checkpoint(tmp_path, 1, module, optimiser, {})
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    with safe_open(folder / MODEL, "pt") as file:
        assert set(file.keys()) == {"0.bias", "1.weight", "1.bias"} == set(trained_tensors(module))
    with safe_open(folder / OPTIMISER, "pt") as file:
        assert "exp_avg_sq/1.weight" in file.keys()  # noqa: SIM118


@pytest.mark.parametrize("damage", ["state", "bytes", "gone", "nothing"])
def test_a_torn_checkpoint_falls_back_to_the_last_whole_one(tmp_path, damage):
    module, optimiser = make()
    step(module, optimiser)
    save_checkpoint(tmp_path, 1, module, optimiser, {})
    torn = save_checkpoint(tmp_path, 2, module, optimiser, {})
    if damage == "state":
        (torn / STATE).write_bytes((torn / STATE).read_bytes()[:20])
    elif damage == "bytes":
        content = bytearray((torn / MODEL).read_bytes())
        content[-1] ^= 1
        (torn / MODEL).write_bytes(content)
    elif damage == "gone":
        (torn / OPTIMISER).unlink()
    else:
        for path in torn.iterdir():
            path.unlink()
    told = []
    assert latest_checkpoint(tmp_path, told.append).step == 1
    assert "step-00000002 is not whole" in told[0]
    again = save_checkpoint(tmp_path, 2, module, optimiser, {})
    assert latest_checkpoint(tmp_path).folder == again


def test_after_going_back_a_torn_checkpoint_of_a_later_step_is_not_kept_for_a_whole_one(tmp_path):
    module, optimiser = make()
    for number in (1, 9):
        save_checkpoint(tmp_path, number, module, optimiser, {})
    (tmp_path / "checkpoints" / "step-00000009" / STATE).unlink()
    save_checkpoint(tmp_path, 2, module, optimiser, {})
    forget_old(tmp_path, 1, step=2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


def test_moments_go_where_their_parameter_is_and_counts_stay_on_the_cpu(tmp_path):
    """A temperature has no dimension, and neither have its moments; `meta` stands for a GPU."""
    scale = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(2.0))})
    optimiser = torch.optim.AdamW(scale.parameters())
    (scale["scale"] ** 2).backward()
    optimiser.step()
    save_checkpoint(tmp_path, 1, scale, optimiser, {})
    elsewhere = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(0.0, device="meta"))})
    restored = torch.optim.AdamW(elsewhere.parameters())
    restore(latest_checkpoint(tmp_path), elsewhere, restored)
    state = restored.state[elsewhere["scale"]]
    assert {key: value.device.type for key, value in state.items()} == {
        "step": "cpu",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }


def test_a_full_disk_is_told_as_one_and_nothing_is_left(tmp_path, monkeypatch):
    def refuse(tensors, path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("training.tensor_files.save_file", refuse)
    module, optimiser = make()
    with pytest.raises(DiskFullError, match="step-00000001"):
        save_checkpoint(tmp_path, 1, module, optimiser, {})
    assert not list((tmp_path / "checkpoints").iterdir())


def test_another_models_checkpoint_is_refused_by_name(tmp_path):
    module, optimiser = make()
    save_checkpoint(tmp_path, 1, module, optimiser, {})
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 7))
    other[0].weight.requires_grad_(False)
    with pytest.raises(CorruptDatasetError, match="another model"):
        restore(latest_checkpoint(tmp_path), other, None)
    with pytest.raises(CorruptDatasetError, match=r"such as 0\.weight"):
        restore(latest_checkpoint(tmp_path), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), None)


def test_only_the_latest_are_kept_and_leavings_are_cleared(tmp_path):
    module, optimiser = make()
    for number in (1, 2, 3):
        save_checkpoint(tmp_path, number, module, optimiser, {})
    (tmp_path / "checkpoints" / ".attempt-0123-step-00000004").mkdir()
    forget_old(tmp_path, 2, step=3)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000002", "step-00000003"]
    assert json.loads((tmp_path / "checkpoints" / names[0] / STATE).read_text())["step"] == 2
    assert latest_checkpoint(tmp_path / "nowhere") is None
