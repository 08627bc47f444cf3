"""Which views make up each batch: a pure function of seed and step, so that a resumed run goes on exactly.

Notation: P views (rows of a table), B batch, V views of one object in a batch.
"""

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import UsageError

Rows = NDArray[np.int64]


class ObjectSampler:
    """Batches in which objects stand with several of their views.

    In an epoch every view is seen once: each object's views are shuffled and cut into groups of V, the
    groups of all objects are shuffled, and batches are cut from what results. So an object with more views is
    met more often, one with fewer than V gives what it has, and a group may continue in the next batch. What
    is left over at an epoch's end is left out.

    Args:
        object_index: (P,) never decreasing.
    """

    def __init__(
        self, object_index: NDArray[np.int32], *, batch: int, views_per_object: int, seed: int
    ) -> None:
        if batch > len(object_index):
            raise UsageError(
                f"there are {len(object_index)} views to train on, fewer than data.batch={batch}: make that "
                f"smaller, with --set data.batch={len(object_index)} or less"
            )
        self._object_index = object_index
        self._views_per_object = views_per_object
        self._batch = batch
        self._seed = seed
        self._epoch = -1
        self._order: Rows = np.empty(0, np.int64)

    @property
    def batches_per_epoch(self) -> int:
        """How many batches each epoch has."""
        return len(self._object_index) // self._batch

    def rows(self, step: int) -> Rows:
        """Return (B,) the views of a step's batch, counted from 0."""
        epoch, index = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = _epoch_order(self._object_index, self._views_per_object, rng)
            self._epoch = epoch
        return self._order[index * self._batch : (index + 1) * self._batch]


def _epoch_order(object_index: NDArray[np.int32], views: int, rng: np.random.Generator) -> Rows:
    """Return (P,) all rows, in groups of up to `views` of one object, in random order."""
    shuffled = np.lexsort((rng.random(len(object_index)), object_index))  # object by object
    owner = object_index[shuffled]
    first = np.searchsorted(owner, owner, side="left")
    starts_group = (np.arange(len(owner)) - first) % views == 0
    group = np.cumsum(starts_group) - 1
    place = rng.permutation(int(group[-1]) + 1)
    order: Rows = shuffled[np.argsort(place[group], kind="stable")]
    return order


class PictureSampler:
    """Batches of pictures that stand for themselves, each once in an epoch, drawn on over its end.

    Args:
        pictures: how many there are.
    """

    def __init__(self, pictures: int, *, batch: int, seed: int) -> None:
        self._pictures = pictures
        self._batch = batch
        self._seed = seed
        self._epoch = -1
        self._order: Rows = np.empty(0, np.int64)

    def rows(self, step: int) -> Rows:
        """Return (B,) the pictures of a step's batch, counted from 0."""
        positions = range(step * self._batch, (step + 1) * self._batch)
        return np.array([self._at(position) for position in positions], np.int64)

    def _at(self, position: int) -> int:
        epoch, index = divmod(position, self._pictures)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, 1, epoch]).permutation(self._pictures)
            self._epoch = epoch
        return int(self._order[index])
