"""GPUs as `nvidia-smi` shows them, and drivers that hang or fail."""

import time

import pytest

from pipelines.doctor import gpu
from pipelines.doctor.gpu import check_gpus


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a program of that name before all others."""

    def make(script: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_without_a_driver_everything_runs_on_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = check_gpus()
    assert finding.fine
    assert "none" in finding.detail


def test_a_failing_driver_is_a_note_with_its_words(nvidia_smi):
    nvidia_smi("echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; exit 18")
    (finding,) = check_gpus()
    assert (finding.fine, finding.fatal) == (False, False)
    assert "Driver/library version mismatch" in finding.detail


def test_a_driver_that_hangs_is_given_up(nvidia_smi, monkeypatch):
    monkeypatch.setattr(gpu, "DRIVER_S", 0.5)
    nvidia_smi("sleep 600")
    begun = time.monotonic()
    (finding,) = check_gpus()
    assert "gave no answer in 0.5 s" in finding.detail
    assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_gpus_that_torch_cannot_use_are_told(nvidia_smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    nvidia_smi(
        "echo 'NVIDIA H100, 550.54, 81559 MiB, 80000 MiB'; echo 'NVIDIA H100, 550.54, 81559 MiB, 1 MiB'"
    )
    first, second, torch = check_gpus()
    assert (first.name, second.name) == ("GPU 0", "GPU 1")
    assert "81559 MiB" in first.detail
    assert torch.detail == "torch sees 0 of 2"
    assert (torch.fine, torch.fatal) == (False, False)
