"""Embeddings of one's own models: a few pictures of each, and the mean of their CLIP vectors.

The renderer and the encoder are two rooms; here they meet. Objects are embedded in chunks on a runner, and
a chunk that is done is not done again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mvcap.config import Config, FilterConfig, producing_settings, settings_hash
from mvcap.embeddings.arrays import Embeddings, read_embeddings, write_embeddings
from mvcap.embeddings.encoder import Encoder, LoadedEncoder
from mvcap.records import SelectedObject, View
from pipelines import filter_inputs
from pipelines.progress import telling
from pipelines.rendering import RenderWorker, check_renderer, render_settings
from pipelines.stages import Runner

OBJECTS_PER_CHUNK: Final = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """Objects to embed, and the file that holds the result."""

    objects: tuple[SelectedObject, ...]
    file: Path


class Embedder:
    """Embeds a chunk of objects; the renderer and the encoder are loaded where it runs.

    An object without a good picture gets a row of zeros, which the selection rejects as `bad_embedding`.
    """

    def __init__(self, config: Config, section: FilterConfig) -> None:
        self._config = config
        self._section = section

    def __call__(self, chunk: Chunk) -> Path:
        encoder = _loaded(filter_inputs.encoder_of(self._section))
        pictures: dict[str, list[bytes]] = {item.uid: [] for item in chunk.objects}
        with RenderWorker(self._config) as renderer:
            for output in renderer(chunk.objects):
                if isinstance(output, View):
                    pictures[output.object.uid].append(output.image)
        found = {uid: encoder.encode_pictures(views) for uid, views in pictures.items() if views}
        width = next((len(vector) for vector in found.values()), 1)
        rows: list[NDArray[np.float32]] = [found.get(uid, np.zeros(width, np.float32)) for uid in pictures]
        write_embeddings(chunk.file, list(pictures), np.stack(rows))
        return chunk.file


@lru_cache(maxsize=1)
def _loaded(encoder: Encoder) -> LoadedEncoder:
    return encoder.load()


def embed_objects(
    config: Config,
    section: FilterConfig,
    models: Iterable[SelectedObject],
    folder: Path,
    runner: Runner,
    say: Callable[[str], None],
) -> Path:
    """Return a file with the embedding of every model, by uid, made now or by an earlier run.

    Raises:
        MvcapError: the renderer or the encoder cannot be had.
    """
    small = _small_pictures(config, section)
    items = sorted(models, key=lambda item: item.uid)
    deciding: dict[str, Any] = {
        **render_settings(small),
        **producing_settings(section),
        "encoder": filter_inputs.encoder_of(section).identity(),
    }
    chunks = _chunks(items, folder, deciding)
    whole = folder / f"clip-views-{settings_hash({'chunks': [chunk.file.name for chunk in chunks]})}.npz"
    if not whole.exists():
        todo = [chunk for chunk in chunks if not chunk.file.exists()]
        say(f"embedding {sum(len(chunk.objects) for chunk in todo)} of {len(items)} objects by their views")
        check_renderer(small)
        done = runner.map(Embedder(small, section), todo, workers=config.run.filter_workers)
        for _ in telling(done, len(todo), "chunks embedded", say):
            pass
        _join(chunks, whole)
    return whole


def _small_pictures(config: Config, section: FilterConfig) -> Config:
    """Render what an encoder sees: a few small pictures, without anything beside them."""
    changes = {"views": section.views, "resolution": section.resolution, "extras": (), "max_bad_views": 1.0}
    return config.model_copy(update={"render": config.render.model_copy(update=changes)})


def _chunks(items: Sequence[SelectedObject], folder: Path, deciding: dict[str, Any]) -> list[Chunk]:
    """Group objects; a chunk's file is named after all that decides its content."""
    chunks = []
    for start in range(0, len(items), OBJECTS_PER_CHUNK):
        members = tuple(items[start : start + OBJECTS_PER_CHUNK])
        name = settings_hash({**deciding, "uids": [item.uid for item in members]})
        chunks.append(Chunk(members, folder / "clip-views" / f"{name}.npz"))
    return chunks


def _join(chunks: Sequence[Chunk], whole: Path) -> None:
    parts = [read_embeddings(chunk.file) for chunk in chunks]
    width = max(part.dimensions for part in parts)
    rows = [part.features if part.dimensions == width else _nothing(part, width) for part in parts]
    write_embeddings(whole, [uid for part in parts for uid in part.source_ids], np.concatenate(rows))


def _nothing(part: Embeddings, width: int) -> NDArray[np.float32]:
    """Widen a chunk in which no object had a picture."""
    return np.zeros((len(part.source_ids), width), np.float32)
