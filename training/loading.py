"""Processes that read and decode pictures ahead of the device.

A signal is the parent's alone to answer, and what goes wrong in a loader is told as it would be without one.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset

from mvcap import signals
from mvcap.errors import InfrastructureError, MvcapError


def ahead(dataset: Dataset[Any], order: Iterable[int], *, loaders: int, pin: bool) -> Iterator[Any]:
    """Yield items in order, made ahead by `loaders` processes; 0 makes each when it is asked for."""
    loading = iter(
        DataLoader(
            _Told(dataset),
            batch_size=None,
            sampler=order,
            num_workers=loaders,
            pin_memory=pin,
            prefetch_factor=2 if loaders else None,
            worker_init_fn=_leave_signals,
        )
    )
    return _without_errors(loading)


class _Told(Dataset[Any]):
    """Gives our own errors as items: a loader would put its traceback around what they say."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except MvcapError as error:
            return error


def _without_errors(loading: Iterator[Any]) -> Iterator[Any]:
    for item in loading:
        if isinstance(item, MvcapError):
            raise item
        yield item


def _leave_signals(loader: int) -> None:
    signals.ignore()


@contextmanager
def dead_loaders_explained() -> Iterator[None]:
    """Turn torch's error about a loader that was killed, which may come at any moment, into one of ours.

    Raises:
        InfrastructureError: the message says what would help.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InfrastructureError(
            f"a process that reads pictures is gone: {error}\nMemory or shared memory may be too small, see "
            "`mvcap doctor`; fewer loaders (`run.loaders`, `--loaders`) need less, 0 reads in between"
        ) from error
