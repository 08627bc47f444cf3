"""Read a dataset from Python: its objects, its views with their pictures, as a DataFrame, for torch.

>>> import mvcap
>>> views = mvcap.open("my_dataset")
>>> len(views), len(views.objects), views.categories, views.splits
(12, 4, ['chair', 'cup'], ['test', 'train'])
>>> first = views.objects[0]
>>> first.category, first.license, first.views
('chair', 'CC0-1.0', 3)
>>> for view in views.views(first.uid):
...     print(view["view_index"], view["caption"], view["image"].size)
0 a chair (24, 24)
1 a chair (24, 24)
2 a chair (24, 24)
"""

import io
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import attrgetter
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from mvcap import schema
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, MissingExtraError, UsageError, did_you_mean
from mvcap.places import parse_place
from mvcap.plan import Plan, Shard
from mvcap.quantities import quantity
from mvcap.records import SelectedObject
from mvcap.storage import Store
from mvcap.tables import open_table

if TYPE_CHECKING:
    import pandas

    from mvcap.torch_views import TorchViews, Transform

"""Columns that hold encoded pictures."""
ORIENTED: Final = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
"""Where Pillow keeps what may tell an orientation."""
PLAIN: Final = tuple(name for name in schema.VIEW_SCHEMA.names if name not in schema.PICTURES)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetObject:
    """An object that has views in the dataset."""

    uid: str
    category: str
    split: str
    views: int
    shard: int
    source: str
    source_id: str
    name: str
    license: str | None
    creator: str | None
    source_url: str | None
    similarity: float | None
    """Cosine in [-1, 1] of the object's embedding to the category's; None where a person chose it."""


def open_dataset(folder: str | PathLike[str]) -> "Dataset":
    """Open a dataset by its plan and its commit records; `mvcap.open` is this.

    Raises:
        OutputError: the folder holds no dataset.
        CorruptDatasetError: its plan or its list of objects is damaged.
    """
    store = Store(parse_place(fspath(folder)))
    return committed_dataset(store, store.require_plan())


def committed_dataset(store: Store, plan: Plan) -> "Dataset":
    """Return what is committed of a dataset now."""
    return Dataset(store, plan, tuple(_committed_objects(store, plan)))


class Dataset:
    """A sequence of views, in the plan's order; what was committed when it was opened.

    A view is a dict with the columns of the dataset's files (`mvcap/schema.py` says what they mean), its
    pictures opened by Pillow and upright, null as None:

        >>> view = mvcap.open("my_dataset")[0]
        >>> view["category"], view["image"].mode, round(view["elevation_deg"], 1)
        ('chair', 'RGB', 12.3)

    Pictures are read when they are asked for, those of one object together: iterating is quick, and so are
    the views of an object, while `views[i]` in a random order reads an object's pictures for each of them.
    """

    def __init__(self, store: Store, plan: Plan, objects: Sequence[DatasetObject]) -> None:
        self.objects = tuple(objects)
        self._store = store
        self._plan = plan
        self._ends = list(accumulate(item.views for item in self.objects))
        self._by_uid = {item.uid: item for item in self.objects}

    def __repr__(self) -> str:
        objects = quantity(len(self.objects), "object")
        return f"<{quantity(len(self), 'view')} of {objects} in {self._store.root}>"

    @property
    def categories(self) -> list[str]:
        return sorted({item.category for item in self.objects})

    @property
    def splits(self) -> list[str]:
        return sorted({item.split for item in self.objects})

    def filter(
        self,
        *,
        category: str | Collection[str] | None = None,
        split: str | Collection[str] | None = None,
        source: str | Collection[str] | None = None,
    ) -> "Dataset":
        """Keep the objects of one category, split or source, or of several.

        >>> cups = mvcap.open("my_dataset").filter(category="cup", split=["train", "test"])
        >>> len(cups), {view["category"] for view in cups}
        (6, {'cup'})

        Raises:
            UsageError: there is nothing of such a name.
        """
        kept = self.objects
        for what, wanted in (("category", category), ("split", split), ("source", source)):
            if wanted is not None:
                names = {wanted} if isinstance(wanted, str) else set(wanted)
                valid = sorted({getattr(item, what) for item in self.objects})
                for unknown in sorted(names - set(valid)):
                    raise UsageError(
                        f"no {what} {unknown!r} in {self._store.root}{did_you_mean(unknown, valid)}"
                    )
                kept = tuple(item for item in kept if getattr(item, what) in names)
        return Dataset(self._store, self._plan, kept)

    def only(self, uids: Collection[str]) -> "Dataset":
        """Keep the objects of these uids; those that are not there are left out in silence."""
        return Dataset(self._store, self._plan, [item for item in self.objects if item.uid in uids])

    def views(self, uid: str) -> list[Row]:
        """Read all views of an object, with their pictures, by view index.

        Raises:
            UsageError: there is no such object.
            CorruptDatasetError: its file cannot be read.
        """
        if uid not in self._by_uid:
            raise UsageError(
                f"no object {uid!r} in {self._store.root}{did_you_mean(uid, list(self._by_uid))}"
            )
        return [_decoded(row) for row in self.read_rows(uid, schema.VIEW_SCHEMA.names)]

    def read_rows(self, uid: str, columns: Sequence[str]) -> list[Row]:
        """Read some columns of an object that is in the dataset, pictures as they are stored.

        Raises:
            CorruptDatasetError: its file cannot be read, or has fewer views of it than when this was opened.
        """
        item = self._by_uid[uid]
        return self._whole(item, self._table(item.shard, columns, uid))

    def _whole(self, item: DatasetObject, table: pa.Table) -> list[Row]:
        """Return an object's rows, which may have become fewer since this was opened."""
        if table.num_rows < item.views:
            raise CorruptDatasetError(
                f"{item.uid} had {quantity(item.views, 'view')} when {self._store.root} was opened and has "
                f"{table.num_rows} now, as after `mvcap remove`: open it anew"
            )
        rows: list[Row] = table.to_pylist()
        return rows

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Row]:
        for _, rows in self.by_object(schema.VIEW_SCHEMA.names):
            yield from map(_decoded, rows)

    def __getitem__(self, index: int) -> Row:
        """Read one view by its place in the dataset.

        >>> views = mvcap.open("my_dataset")
        >>> views[-1]["view_index"], views[len(views) - 1]["view_index"]
        (2, 2)
        """
        uid, position = self.locate(index)
        return self.views(uid)[position]

    def locate(self, index: int) -> tuple[str, int]:
        """Return the object of the view at a place, and the view's place among that object's views.

        Raises:
            IndexError: there are not so many views.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"view {index} of {len(self)}")
        owner = bisect_right(self._ends, place)
        return self.objects[owner].uid, place - (self._ends[owner] - self.objects[owner].views)

    def to_pandas(self, *, pictures: bool = False) -> "pandas.DataFrame":
        """Read all rows into a DataFrame, without their pictures unless they are asked for.

        With `pictures`, they stay as stored: a dict of `bytes` and `path` each.

        >>> frame = mvcap.open("my_dataset").to_pandas()
        >>> frame.groupby("category")["caption"].count().to_dict()
        {'chair': 6, 'cup': 6}

        Raises:
            MissingExtraError: pandas is not installed.
            CorruptDatasetError: a file cannot be read.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("to_pandas needs pandas: pip install pandas") from error
        columns = schema.VIEW_SCHEMA.names if pictures else PLAIN
        none = schema.VIEW_SCHEMA.empty_table().select(columns)
        shards = dict.fromkeys(item.shard for item in self.objects)
        table = pa.concat_tables([none, *(self._table(shard, columns) for shard in shards)])
        kept = pc.is_in(table["uid"], pa.array(self._by_uid, pa.string()))
        frame: pandas.DataFrame = table.filter(kept).to_pandas()
        return frame

    def to_torch(
        self,
        transform: "Transform | None" = None,
        *,
        columns: Sequence[str] = ("category", "caption", "uid", "view_index"),
    ) -> "TorchViews":
        """Return a map-style dataset for `torch.utils.data.DataLoader`, whose workers may be processes.

        An item is a dict of the image, as (3, H, W) float32 in [0, 1] or as what `transform` makes of the RGB
        picture, and the columns that were asked for. Pictures are upright, and alpha is composited on the
        background that the row names. So that they collate, a missing text is "" and a missing
        number NaN.

        >>> items = mvcap.open("my_dataset").to_torch(columns=["caption", "azimuth_deg"])
        >>> import torch.utils.data
        >>> batch = next(iter(torch.utils.data.DataLoader(items, batch_size=4)))
        >>> batch["image"].shape, batch["caption"][0], batch["azimuth_deg"].dtype
        (torch.Size([4, 3, 24, 24]), 'a chair', torch.float64)

        Raises:
            MissingExtraError: torch is not installed.
            UsageError: there is no such column, or it holds lists or pictures.
        """
        try:
            from mvcap.torch_views import TorchViews
        except ImportError as error:
            raise MissingExtraError("to_torch needs torch: pip install 'mvcap[captions]'") from error
        return TorchViews(self, transform, columns)

    def by_object(self, columns: Sequence[str]) -> Iterator[tuple[DatasetObject, list[Row]]]:
        """Yield each object with some columns of its views, pictures as they are stored.

        Raises:
            CorruptDatasetError: a file cannot be read, or has fewer views than when this was opened.
        """
        for shard, members in groupby(self.objects, key=attrgetter("shard")):
            with self._open(shard) as file:
                for item in members:
                    yield item, self._whole(item, _read(file, columns, item.uid))

    def _table(self, shard: int, columns: Sequence[str], uid: str | None = None) -> pa.Table:
        """Read columns of a shard, or of one of its objects."""
        with self._open(shard) as file:
            return _read(file, columns, uid)

    @contextmanager
    def _open(self, shard: int) -> Iterator[pq.ParquetFile]:
        """Open a shard's committed file."""
        commit = self._store.find_commit(CAPTION, self._plan.shards[shard])
        if commit is None or commit.file is None:
            raise CorruptDatasetError(
                f"shard {shard} of {self._store.root} is no longer what it was when this was opened; "
                "run `mvcap verify`"
            )
        try:
            with open_table(self._store.root / commit.file) as file:
                schema.check_version(file.schema_arrow, commit.file)
                yield file
        except (OSError, pa.ArrowException) as error:
            raise CorruptDatasetError(f"{commit.file} cannot be read: {error}; run `mvcap verify`") from error


def _read(file: pq.ParquetFile, columns: Sequence[str], uid: str | None) -> pa.Table:
    """Read columns of a file, or of one object in it; those that an older version did not write are null."""
    written = set(file.schema_arrow.names)
    present = [name for name in columns if name in written]
    table = file.read_row_groups(_groups_of(file, uid), columns=present)
    empty = schema.VIEW_SCHEMA.empty_table().select(columns)
    return pa.concat_tables([empty, table], promote_options="default")


def _groups_of(file: pq.ParquetFile, uid: str | None) -> list[int]:
    """List the row groups of an object, or of all: each group is one object's."""
    groups = range(file.num_row_groups)
    if uid is None:
        return list(groups)
    place = file.schema_arrow.names.index("uid")  # it is the first column, before any that has inner ones
    return [group for group in groups if file.metadata.row_group(group).column(place).statistics.min == uid]


def _committed_objects(store: Store, plan: Plan) -> Iterator[DatasetObject]:
    objects = {item.uid: item for item in store.read_objects()}
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        for uid in shard.uids:
            if commit and (views := commit.views.get(uid)):
                yield _dataset_object(objects[uid], shard, views)


def _dataset_object(item: SelectedObject, shard: Shard, views: int) -> DatasetObject:
    record = item.record
    return DatasetObject(
        uid=record.uid,
        category=item.category,
        split=shard.split,
        views=views,
        shard=shard.index,
        source=record.source,
        source_id=record.source_id,
        name=record.name,
        license=record.license,
        creator=record.creator,
        source_url=record.source_url,
        similarity=item.similarity,
    )


def _decoded(row: Row) -> Row:
    return row | {name: _picture(row[name]) for name in schema.PICTURES if name in row}


def _picture(stored: Row | None) -> Image.Image | None:
    """Open a picture, upright; one that says nothing of an orientation is not decoded yet."""
    if not stored:
        return None
    image = Image.open(io.BytesIO(stored["bytes"]))
    if ORIENTED & image.info.keys():
        ImageOps.exif_transpose(image, in_place=True)
    return image
