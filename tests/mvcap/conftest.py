"""What the tests of `mvcap` share: objects, views and small datasets whose shards a test commits itself."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap import schema
from mvcap.commits import CAPTION, RENDER, Commit, StageName
from mvcap.plan import Plan, Shard, extend_plan, make_uid
from mvcap.records import Camera, CaptionedView, ObjectRecord, SelectedObject, View
from mvcap.rows import caption_columns, view_row
from mvcap.storage import Store
from mvcap.tables import TableWriter

SIZE_PX = 24


def new_object(name: str, category: str = "chair") -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid("folder", name),
        source="folder",
        source_id=name,
        name=name,
        asset=f"/models/{name}.glb",
        license="CC0-1.0",
        creator="Ada",
        source_url=None,
    )
    return SelectedObject(record, category)


def new_camera(azimuth_deg: float = 30.1) -> Camera:
    matrix = np.eye(4)
    matrix[:3, 3] = (0.1, -1.4, 0.7)
    return Camera(
        azimuth_deg, 12.3, 1.5, tuple(matrix.ravel().tolist()), SIZE_PX, SIZE_PX, 26.25, 26.25, 12.0, 12.0
    )


def new_picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def new_view(item: SelectedObject, index: int, *, camera: Camera | None = None) -> View:
    new_picture(index).save(buffer := BytesIO(), "PNG")
    return View(item, index, buffer.getvalue(), "#ffffff", SIZE_PX, SIZE_PX, camera, 0.25)


class Dataset:
    """A planned dataset whose shards a test commits by itself."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        *,
        per_shard: int,
        splits: Mapping[str, float],
        category_of: Callable[[str], str],
    ) -> None:
        self.objects = {item.uid: item for item in (new_object(name, category_of(name)) for name in names)}
        self.plan = extend_plan(Plan(0, per_shard, splits), self.objects)
        self.store = Store(root)
        self.store.write_plan(self.plan, self.objects.values(), [])

    def write(
        self, path: Path, shard: Shard, *, views: int = 3, caption: str | None = None
    ) -> dict[str, int]:
        """Write a shard's table and return how many rows each object has."""
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            for uid in shard.uids:
                pictures = [new_view(self.objects[uid], index, camera=new_camera()) for index in range(views)]
                writer.write([self._row(view, shard, caption) for view in pictures])
        return dict.fromkeys(shard.uids, views)

    def commit(
        self, stage: StageName, shard: Shard, *, views: int = 3, caption: str = "a chair", settings: str = "s"
    ) -> Commit:
        with self.store.stage_file(stage, shard) as path:
            rows = self.write(path, shard, views=views, caption=caption if stage == CAPTION else None)
            return self.store.commit(
                stage, shard, path, settings=settings, rows=sum(rows.values()), views=rows
            )

    def finish(self, *, drop_views: bool = False) -> "Dataset":
        for shard in self.plan.shards:
            self.commit(RENDER, shard)
            self.commit(CAPTION, shard)
            if drop_views:
                self.store.drop_views(shard)
        return self

    def _row(self, view: View, shard: Shard, caption: str | None) -> dict[str, object]:
        row = view_row(view, split=shard.split)
        if caption is None:
            return row
        return row | caption_columns(CaptionedView(view, caption, "Write"), captioner="fake:1")


@pytest.fixture(scope="session")
def make_object() -> Callable[..., SelectedObject]:
    return new_object


@pytest.fixture(scope="session")
def make_camera() -> Callable[..., Camera]:
    return new_camera


@pytest.fixture(scope="session")
def make_picture() -> Callable[[int], Image.Image]:
    """A picture of noise, by seed."""
    return new_picture


@pytest.fixture(scope="session")
def make_view() -> Callable[..., View]:
    return new_view


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """Plan a dataset over objects of the given names; its shards are not committed yet."""

    def make(
        names: Sequence[str] = "abcd",
        *,
        per_shard: int = 2,
        splits: Mapping[str, float] | None = None,
        folder: str = "dataset",
        category_of: Callable[[str], str] = lambda _: "chair",
    ) -> Dataset:
        root = tmp_path_factory.mktemp("mvcap") / folder
        splits = splits or {"train": 1.0}
        return Dataset(root, names, per_shard=per_shard, splits=splits, category_of=category_of)

    return make
