"""One thread for torch, a small dataset of ours, and pictures that are made up as they are asked for."""

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mvcap import plugins, recipes
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from training.pictures import UNKNOWN, EncodedPicture, PictureTable

TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.WARNING)  # open_clip tells of every model it makes


class MadeUpPictures:
    """Noise around a colour of the object's own; `captioned` says of each view whether it has a caption."""

    def __init__(self, counts: Sequence[int], captioned: Sequence[bool] | None = None) -> None:
        owner = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        views = np.concatenate([np.arange(count) for count in counts])
        index = owner if captioned is None else np.where(captioned, owner, UNKNOWN)
        self._names = [f"object-{o}#{v}" for o, v in zip(owner, views, strict=True)]
        self.reads = 0
        self.table = PictureTable(
            object_index=owner,
            categories=tuple(f"thing {o}" for o in range(len(counts))),
            category_index=owner,
            captions=[f"a picture of thing {o}" for o in range(len(counts))],
            caption_index=index.astype(np.int32),
            azimuth_deg=(views * 30 % 360).astype(np.float32),
            elevation_deg=np.full(len(owner), 20, np.float32),
        )

    def key(self, row: int) -> str:
        return self._names[row]

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        self.reads += len(rows)
        return [self._draw(int(row)) for row in rows]

    def _draw(self, row: int) -> EncodedPicture:
        colour = np.random.default_rng([1, int(self.table.object_index[row])]).integers(40, 215, 3)
        noise = np.random.default_rng([2, row]).integers(-40, 41, (36, 36, 3))
        image = Image.fromarray((colour + noise).astype(np.uint8))
        image.save(buffer := io.BytesIO(), "PNG")
        return EncodedPicture(buffer.getvalue())


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., MadeUpPictures]:
    return MadeUpPictures


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve objects of three categories, four views each at 32 px, two of them in the split `test`."""
    folder = tmp_path_factory.mktemp("training")
    for name in [f"{category}/{number}" for category in ("chair", "cup", "lamp") for number in range(4)]:
        path = folder / "models" / f"{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n{TETRAHEDRON}")
    settings = {
        "sources": [{"source": "folder", "options": {"path": str(folder / "models")}}],
        "plan": {
            "objects_per_shard": 3,
            "splits": {"train": 1.0},
            "evaluation": [
                str(folder / "models" / "cup" / "0.obj"),
                str(folder / "models" / "lamp" / "1.obj"),
            ],
        },
        "render": {"backend": "fake", "views": 4, "resolution": 32},
        "captions": {"backend": "fake", "synonyms": "table"},
        "run": {"render_workers": 1, "caption_workers": 1},
    }
    config = recipes.build_config(settings, plugins.options_model)
    build(config, Request(folder / "dataset"), LocalRunner(), lambda _: None)
    return folder / "dataset"
