from collections.abc import Sequence

import pytest

from captions.batches import ShrinkingBatches


class Device:
    """Squares numbers, as many at once as fit."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tried: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.tried.append(len(batch))
        if len(batch) > self.capacity:
            raise MemoryError
        return [number**2 for number in batch]


def test_batch_is_halved_until_it_fits_and_the_size_is_remembered():
    device = Device(capacity=3)
    run = ShrinkingBatches(device, MemoryError)
    assert run(range(16)) == [number**2 for number in range(16)]
    assert device.tried == [16, 8, 4, *[2] * 8]
    assert run.limit == 2
    device.tried.clear()
    assert run([5, 6, 7]) == [25, 36, 49]
    assert device.tried == [2, 1]


def test_everything_goes_at_once_while_memory_suffices():
    device = Device(capacity=64)
    assert ShrinkingBatches(device, MemoryError)(range(64)) == [number**2 for number in range(64)]
    assert device.tried == [64]
    assert ShrinkingBatches(device, MemoryError)([]) == []


def test_error_leaves_where_one_item_does_not_fit():
    device = Device(capacity=0)
    with pytest.raises(MemoryError):
        ShrinkingBatches(device, MemoryError)([1, 2, 3])
    assert device.tried == [3, 1]
