"""GPUs: what the drivers show, and what torch can use of it."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from pipelines.doctor.findings import Finding
from pipelines.doctor.trials import TrialFailed, try_command, try_python

DRIVER_S: Final = 20.0
"""`nvidia-smi` hangs where the driver does."""
TORCH_S: Final = 120.0
QUERY: Final = ("--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader")
COUNT: Final = "import torch; print(torch.cuda.device_count())"


def check_gpus() -> Iterator[Finding]:
    if program := shutil.which("nvidia-smi"):
        yield from _nvidia(program)
    elif shutil.which("rocm-smi") or shutil.which("amd-smi"):
        yield Finding("GPU", True, "AMD driver found")
        yield from _torch(expected=1)
    else:
        yield Finding("GPU", True, "none: rendering and captions run on the CPU")


def _nvidia(program: str) -> Iterator[Finding]:
    try:
        found = [line for line in try_command([program, *QUERY], timeout_s=DRIVER_S).splitlines() if line]
    except TrialFailed as failure:
        remedy = "`nvidia-smi` has to work: mend the driver, or in a container start it with --gpus all"
        yield Finding("GPU", False, f"nvidia-smi {failure}", remedy, needed=False)
        return
    for index, line in enumerate(found):
        yield Finding(f"GPU {index}", True, line)
    yield from _torch(expected=len(found))


def _torch(*, expected: int) -> Iterator[Finding]:
    """Compare with what torch sees: a build for CPUs captions on the CPU without a word."""
    if find_spec("torch") is None:
        return
    try:
        count = int(try_python("-c", COUNT, timeout_s=TORCH_S))
    except (TrialFailed, ValueError) as failure:
        yield Finding("torch and GPUs", False, str(failure), "reinstall torch for this driver", needed=False)
        return
    remedy = (
        "install the torch build for this driver (pytorch.org/get-started), and look at CUDA_VISIBLE_DEVICES"
    )
    yield Finding(
        "torch and GPUs", count >= expected, f"torch sees {count} of {expected}", remedy, needed=False
    )
