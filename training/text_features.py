"""Text features by caption: computed once where the text tower is frozen."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from training.student import Student

AT_ONCE: Final = 64
"""Texts encoded together, always as many: a text's last bits then do not depend on when it is met, and a
resumed run is the same to the last bit."""
LARGEST_CACHE_BYTES: Final = 2**28


class TextFeatures:
    """Looks captions up, and encodes those that are not known yet.

    Args:
        captions: distinct ones, by number.
        frozen: whether the text tower stays as it is; otherwise every batch encodes its own, with gradient.
    """

    def __init__(
        self, student: Student, captions: Sequence[str], *, frozen: bool, device: torch.device
    ) -> None:
        self._student = student
        self._captions = captions
        self._frozen = frozen
        self._device = device
        self._known: OrderedDict[int, Tensor] = OrderedDict()
        self._room = max(AT_ONCE, LARGEST_CACHE_BYTES // (4 * student.encoder.width))

    def __call__(self, index: Tensor) -> Tensor:
        """Return (B, D) unit-norm features of the captions with these numbers (B,)."""
        numbers = index.tolist()
        if not self._frozen:
            place = {number: position for position, number in enumerate(dict.fromkeys(numbers))}
            features = self._encode([self._captions[number] for number in place])
            return features[[place[number] for number in numbers]]
        for start in range(0, len(missing := self._missing(numbers)), AT_ONCE):
            chunk = missing[start : start + AT_ONCE]
            padded = [*chunk, *[chunk[0]] * (AT_ONCE - len(chunk))]
            found = self._encode_frozen([self._captions[number] for number in padded])
            self._known.update(zip(chunk, found, strict=False))
        features = torch.stack([self._known[number] for number in numbers])
        while len(self._known) > self._room:
            self._known.popitem(last=False)
        return features

    def _missing(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in dict.fromkeys(numbers) if number not in self._known]

    @torch.no_grad()
    def _encode_frozen(self, texts: Sequence[str]) -> Tensor:
        """Encode without dropout: what it dropped would be missing from the cached features for good."""
        training = self._student.training
        self._student.eval()
        try:
            return self._encode(texts)
        finally:
            self._student.train(training)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        return self._student.encode_texts(self._student.encoder.tokenize(texts).to(self._device))
