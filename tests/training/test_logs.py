"""The log of a run: no step twice, whatever was torn, and a full disk is told as one."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from mvcap.errors import DiskFullError
from training.logs import JsonLines, Wandb, last_figures


def steps(run):
    return [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_writes_what_comes_after_its_checkpoint_anew(tmp_path):
    log = JsonLines(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 10})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed
    assert last_figures(tmp_path) == {}
    resumed = JsonLines(tmp_path, 2)
    assert last_figures(tmp_path) == {"loss": 0.2}
    resumed.write(3, {"loss": 0.5})
    resumed.close()
    assert steps(tmp_path) == [1, 2, 3]
    assert last_figures(tmp_path) == {"loss": 0.5}
    assert last_figures(tmp_path / "nowhere") == {}


def test_a_full_disk_is_told_as_one(tiny_disk):
    log = JsonLines(tiny_disk, 0)
    (tiny_disk / "rest").write_bytes(b"0" * shutil.disk_usage(tiny_disk).free)
    with pytest.raises(DiskFullError, match=r"log\.jsonl"):
        log.write(1, {"loss": 1.0})
    with pytest.raises(DiskFullError, match=r"log\.jsonl"):
        log.close()


def test_runs_in_folders_of_the_same_name_are_two_of_wandb(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: begun.append(options)))
    for place in ("a/run", "b/run", "a/../a/run"):
        Wandb(tmp_path / place, {})
    first, second, again = (options["id"] for options in begun)
    assert first != second
    assert {options["name"] for options in begun} == {"run"}
    assert first == again
