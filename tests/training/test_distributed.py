"""Two processes with half a batch each have the loss and the gradients of one with all of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.distributed import World, joined

SCRIPT = Path(__file__).with_name("doubles") / "one_step.py"


def start(model, out, rank, size, port):
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment |= {name: str(value) for name, value in places.items()}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(model), str(out)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def run(model, out, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(model, out, rank, size, port) for rank in range(size)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * size, errors


@pytest.mark.slow
def test_one_of_64_and_two_of_32_have_the_same_losses_and_gradients(small_open_clip, tmp_path):
    for size in (1, 2):
        (tmp_path / str(size)).mkdir()
        run(small_open_clip, tmp_path / str(size), size)
    names = sorted(path.name for path in (tmp_path / "1").glob("*.safetensors"))
    assert len(names) == 6
    for name in names:
        alone, together = load_file(tmp_path / "1" / name), load_file(tmp_path / "2" / name)
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            assert torch.allclose(value, together[key], atol=1e-6, rtol=1e-5), (name, key)
        assert any(value.abs().max() > 1e-4 for key, value in alone.items() if "lora" in key), name


def test_alone_nothing_is_shared():
    with joined() as world:
        assert world == World()
        values = torch.ones(2, requires_grad=True)
        assert world.gather(values) is values
        assert world.total(3.0) == 3.0
