"""Training batches: varied pictures, prompts of which some name another category, and captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from captions.prompts import UNGUIDED_PROMPT, category_prompt
from captions.tiny.architecture import CHARACTERS
from captions.tiny.examples import Examples, composite
from captions.tiny.labels import colour_shares, colour_word
from captions.tiny.recolouring import recolour
from captions.tiny.vocabulary import CATEGORIES, UNKNOWN, VIEW_PHRASES, compose_caption
from mvcap.config import PAPER_PROMPT

OTHER_SHARE: Final = 0.4
"""Share of the examples whose prompt names a random category, so that the model must read it."""

UNKNOWN_SHARE: Final = 0.05
"""Share whose prompt names no category, and share whose category is outside the list."""

UNKNOWN_WORDS: Final = 256
BRIGHTNESS: Final = 0.08
"""Of pictures whose colours are not measured anew: see `jitter`."""

IGNORED: Final = -100
"""Label of padding, as transformers' losses have it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model reads and should write, and the labels of the auxiliary heads."""

    inputs: Mapping[str, Tensor]
    colours: Tensor
    """(B,) int64, `IGNORED` where no colour is named; or (B, colours) float32, each one's share."""
    views: Tensor
    """(B,) int64."""
    categories: Tensor
    """(B,) int64 true category, whatever the prompt says; `IGNORED` outside the list."""
    angles: Tensor
    """(B, 3) sine of the elevation, cosines of once and twice the azimuth from the front, NaN without a
    front. All three stay what they are when the picture is mirrored."""


class BatchMaker:
    """Draws batches from examples, with every prompt tokenised once.

    Args:
        redrawn: share of each batch in other colours; where above 0, all are measured anew.
    """

    def __init__(
        self, examples: Examples, processor: Any, rng: np.random.Generator, *, redrawn: float = 0.0
    ) -> None:
        self._examples, self._processor, self._rng = examples, processor, rng
        self._redrawn = redrawn
        unknown = ["".join(rng.choice(CHARACTERS[:26], rng.integers(3, 10))) for _ in range(UNKNOWN_WORDS)]
        names = [*CATEGORIES, *unknown]
        prompts = [UNGUIDED_PROMPT, *(category_prompt(PAPER_PROMPT, name) for name in names)]
        self._written = [UNKNOWN, *CATEGORIES, *(UNKNOWN for _ in unknown)]
        self._prompts = encode_prompts(processor, prompts)
        index = {name: i for i, name in enumerate(CATEGORIES)}
        self._categories = torch.tensor([index.get(name, IGNORED) for name in examples.categories])
        self._pixels = examples.pixels
        self._angles = _angles(examples)

    def draw(self, size: int) -> Batch:
        """Draw `size` views with replacement."""
        rows = self._rng.integers(len(self._examples), size=size)
        prompts = self._draw_prompts(rows)
        draw = self._draw_recoloured if self._redrawn else self._take_pictures
        pixels, colours, words = draw(rows)
        captions = [
            compose_caption(self._written[prompt], word, VIEW_PHRASES[self._examples.views[row]])
            for row, prompt, word in zip(rows, prompts, words, strict=True)
        ]
        return Batch(
            inputs={
                "pixel_values": pixels,
                **_rows_without_padding(self._prompts, prompts),
                "labels": encode_captions(self._processor, captions),
            },
            colours=colours,
            views=torch.from_numpy(self._examples.views[rows]),
            categories=self._categories[rows],
            angles=self._angles[rows],
        )

    def _take_pictures(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, list[str | None]]:
        """Return the pixels of rows, jittered, the indices of their colours and the words for them."""
        words = [colour_word(self._examples.colours[row], self._examples.shares[row]) for row in rows]
        named = [word is not None for word in words]
        colours = np.where(named, self._examples.colours[rows], IGNORED)
        pixels = jitter(self._pixels[rows], self._processor.image_processor, self._rng, brightness=BRIGHTNESS)
        return pixels, torch.from_numpy(colours), words

    def _draw_recoloured(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, list[str | None]]:
        """Return the same of recoloured pictures, with the share of each colour in place of the indices."""
        rgba = recolour(self._examples.rgba[rows], self._redrawn, self._rng)
        shares = colour_shares(rgba)  # (B, colours)
        words = [colour_word(int(share.argmax()), float(share.max())) for share in shares]
        pictures = composite(rgba, self._examples.backgrounds[rows, None, None])
        pixels = jitter(pictures, self._processor.image_processor, self._rng, brightness=0)
        return pixels, torch.from_numpy(shares), words

    def _draw_prompts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pick for each view of (B,) a row of the table of prompts: mostly its own category's."""
        own = self._categories[rows].numpy() + 1
        other = self._rng.integers(1, len(CATEGORIES) + 1, len(rows))
        unknown = self._rng.integers(len(CATEGORIES) + 1, len(self._written), len(rows))
        draw = self._rng.random(len(rows))
        limits = np.cumsum([UNKNOWN_SHARE, UNKNOWN_SHARE, OTHER_SHARE])
        chosen = np.select([draw < limit for limit in limits], [np.zeros_like(own), unknown, other], own)
        return np.where(chosen < 0, 0, chosen)  # a category outside the list: no guidance


def encode_prompts(processor: Any, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Tokenise prompts for both text encoders; a blank picture stands in, for the image's tokens."""
    blank = Image.new("RGB", (8, 8))
    encoded = processor(
        images=[blank] * len(prompts), text=list(prompts), padding="longest", return_tensors="pt"
    )
    return {name: tensor for name, tensor in encoded.items() if name != "pixel_values"}


def encode_captions(processor: Any, captions: Sequence[str]) -> Tensor:
    """Tokenise captions into (B, T) labels."""
    encoded = processor.tokenizer(list(captions), padding="longest", return_tensors="pt")
    labels: Tensor = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, IGNORED)
    return labels


def jitter(
    pictures: NDArray[np.uint8], image_processor: Any, rng: np.random.Generator, *, brightness: float
) -> Tensor:
    """Resize and normalise (B, H, W, 3) pictures to (B, 3, S, S) as the processor does, varied at random.

    Each is mirrored or not, scaled by 0.75 to 1.2, stretched by up to 12 %, shifted by up to 7 % and made
    brighter or darker by up to a share of `brightness`, which alone may change a word: that of a colour
    that is near another one.
    """
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # (B, 3, H, W)
    size, count = image_processor.size["height"], len(pixels)
    zoom, stretch = rng.uniform(0.85, 1.35, count), np.exp(rng.uniform(-0.12, 0.12, count))
    matrix = np.zeros((count, 2, 3), np.float32)  # from the new picture's coordinates to the old one's
    matrix[:, 0, 0] = zoom * stretch * rng.choice([-1, 1], count)
    matrix[:, 1, 1] = zoom / stretch
    matrix[:, :, 2] = rng.uniform(-0.15, 0.15, (count, 2))  # in half pictures
    grid = F.affine_grid(torch.from_numpy(matrix), [count, 3, size, size], align_corners=False)
    moved = F.grid_sample(pixels.float() / 255, grid, padding_mode="border", align_corners=False)
    factors = rng.uniform(1 - brightness, 1 + brightness, (count, 1, 1, 1)).astype(np.float32)
    mean, deviation = (
        torch.tensor(values)[:, None, None]
        for values in (image_processor.image_mean, image_processor.image_std)
    )
    return ((moved * torch.from_numpy(factors)).clamp(0, 1) - mean) / deviation


def _rows_without_padding(table: Mapping[str, Tensor], rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """Take rows of tokenised prompts and cut the columns that pad all of them."""
    chosen = {name: tensor[rows] for name, tensor in table.items()}
    used = {name: int(chosen[f"{name}attention_mask"].sum(dim=1).max()) for name in ("", "qformer_")}
    return {
        name: tensor[:, : used["qformer_" if name.startswith("qformer_") else ""]]
        for name, tensor in chosen.items()
    }


def _angles(examples: Examples) -> Tensor:
    turn = np.radians(examples.from_front_deg)
    columns = (np.sin(np.radians(examples.elevations_deg)), np.cos(turn), np.cos(2 * turn))
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
