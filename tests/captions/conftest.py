"""Pictures, views and one loaded captioner for the tests of `captions`."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from captions.backends import instructblip
from captions.prompts import category_prompt
from captions.tiny.untrained import build_untrained_checkpoint
from mvcap.config import PAPER_PROMPT
from mvcap.records import ObjectRecord, SelectedObject, View

CATEGORIES = ("chair", "table", "coffee table", "pogo-stick", "car", "a very long category of many words")


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_picture() -> Callable[[int], Image.Image]:
    """A 96 px picture of three coloured rectangles on black, by seed."""

    def draw(seed: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        image = Image.new("RGB", (96, 96))
        for _ in range(3):
            left, top, width, height = (int(value) for value in rng.integers(8, 48, 4))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            ImageDraw.Draw(image).rectangle([left, top, left + width, top + height], fill=colour)
        return image

    return draw


@pytest.fixture(scope="session")
def make_prompt() -> Callable[[int], str]:
    """The paper's prompt with categories of different lengths, by index."""
    return lambda index: category_prompt(PAPER_PROMPT, CATEGORIES[index % len(CATEGORIES)])


@pytest.fixture(scope="session")
def make_view() -> Callable[..., View]:
    def make(
        image: Image.Image | bytes, *, category: str = "chair", index: int = 0, background: str = "#808080"
    ) -> View:
        if isinstance(image, Image.Image):
            image.save(buffer := BytesIO(), format="PNG")
            image = buffer.getvalue()
        record = ObjectRecord("uid", "folder", "id", "name", "/asset", None, None, None)
        return View(
            object=SelectedObject(record, category),
            view_index=index,
            image=image,
            background=background,
            width=96,
            height=96,
            camera=None,
            foreground_fraction=None,
        )

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small untrained model; not to be changed by a test."""
    return build_untrained_checkpoint(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def captioner(checkpoint: Path) -> Iterator[instructblip.InstructBlipCaptioner]:
    with instructblip.create(instructblip.Options(model=str(checkpoint), device="cpu")) as loaded:
        assert isinstance(loaded, instructblip.InstructBlipCaptioner)
        yield loaded
