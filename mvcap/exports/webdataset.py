"""Tar files for the `webdataset` package, in the layout that LAION's clip_benchmark reads.

    classnames.txt                          a category a line; line N, from 0, is class N
    zeroshot_classification_templates.txt   sentences with `{c}` where the category goes
    objects.parquet                         who made the objects, under which licence
    test/nshards.txt                        how many tars this split has
    test/0.tar                              for each view its picture, `.cls`, `.json` and `.txt`

`.cls` is the class, `.txt` the caption, where there is one, and `.json` every column that holds no picture.
Masks, depths and normals are members too: `.mask.png` and so on. The views of an object stand together:
shuffle with a buffer. The bytes depend on the dataset and the options alone.
"""

import json
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from mvcap.exports._chosen import ChosenViews, Row, plain_columns
from mvcap.exports._names import line
from mvcap.plugins import missing_extra
from mvcap.rows import picture_suffix
from mvcap.schema import EXTRAS

TEMPLATES: Final = ("a photo of a {c}.",)


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tar_views: int = Field(10_000, ge=1)
    """At most so many views in a tar; this and the next are clip_benchmark's own defaults."""
    tar_bytes: int = Field(1_000_000_000, ge=1)
    """A tar that holds so many bytes takes no further view."""
    templates: Literal["plain", "openai"] = "plain"
    """`plain`: "a photo of a {c}."; `openai`: the 80 that CLIP was evaluated with, which open_clip holds."""


def export(chosen: ChosenViews, folder: Path, options: Options) -> int:
    """Write the tars of each split, the classes and the templates.

    Raises:
        MissingExtraError: the templates are open_clip's, which is not installed.
    """
    templates = _openai_templates() if options.templates == "openai" else TEMPLATES
    classes = {category: index for index, category in enumerate(chosen.categories)}
    _write_lines(folder / "zeroshot_classification_templates.txt", templates)
    _write_lines(folder / "classnames.txt", map(line, classes))
    with ExitStack() as stack:
        tars: dict[str, _Tars] = {}
        for _, rows in chosen.objects():
            split = rows[0]["split"]
            if split not in tars:
                tars[split] = stack.enter_context(_Tars(folder / split, options))
            for row in rows:
                tars[split].write(f"{row['uid']}_{row['view_index']:03d}", _members(row, classes))
        return sum(each.views for each in tars.values())


class _Tars:
    """The tars of one split, begun one after the other as each is full."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.views = 0
        self._folder = folder
        self._options = options
        self._count = self._in_tar = 0
        self._tar: tarfile.TarFile | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir()
        return self

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Write one view; its members stand side by side, as readers group them."""
        for suffix, content in members.items():
            entry = tarfile.TarInfo(f"{key}.{suffix}")
            entry.size = len(content)
            entry.mode = 0o644
            self._open_tar().addfile(entry, BytesIO(content))
        self.views += 1
        self._in_tar += 1
        full = self._in_tar >= self._options.tar_views or self._open_tar().offset >= self._options.tar_bytes
        if full:
            self._close_tar()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_tar()
        (self._folder / "nshards.txt").write_text(f"{self._count}\n")

    def _open_tar(self) -> tarfile.TarFile:
        if self._tar is None:
            path = self._folder / f"{self._count}.tar"
            self._tar = self._opened.enter_context(tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT))
            self._count += 1
            self._in_tar = 0
        return self._tar

    def _close_tar(self) -> None:
        self._opened.close()
        self._tar = None


def _members(row: Row, classes: Mapping[str, int]) -> dict[str, bytes]:
    members = {
        picture_suffix(row["image"]["bytes"]): row["image"]["bytes"],
        "cls": str(classes[row["category"]]).encode(),
        "json": json.dumps(plain_columns(row), ensure_ascii=False).encode(),
    }
    if row["caption"] is not None:
        members["txt"] = row["caption"].encode()
    return members | {f"{name}.png": row[name]["bytes"] for name in EXTRAS if row[name]}


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{each}\n" for each in lines), "utf-8")


def _openai_templates() -> list[str]:
    try:
        from open_clip import OPENAI_IMAGENET_TEMPLATES
    except ModuleNotFoundError as error:
        raise missing_extra("templates=openai", error) from error
    return [template("{c}") for template in OPENAI_IMAGENET_TEMPLATES]
