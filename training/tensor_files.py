"""Write safetensors, with the system's errors as they are: the library tells them by words alone."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write contiguous tensors that share no memory.

    Raises:
        OSError: the system refuses, as on a full disk.
    """
    with errors_of_the_system():
        save_file(dict(tensors), path)


@contextmanager
def errors_of_the_system() -> Iterator[None]:
    """Turn what safetensors tells of the system into an `OSError`."""
    try:
        yield
    except SafetensorError as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from error
