"""What the scripts of the page read: columns of the shown views and the objects that they belong to."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from mvcap.dataset import DatasetObject
from mvcap.report.page.addresses import web_address
from mvcap.report.page.contents import Contents, Key, Shown
from mvcap.report.page.sprites import CELLS, COLUMNS, Sheets


def page_data(contents: Contents, *, folder: str) -> dict[str, Any]:
    """Lay out the shown views for the scripts, as JSON takes it.

    Views are numbered, the listed ones first; texts that repeat are kept once.

    Args:
        folder: the dataset, as commands name it.
    """
    number = view_numbers(contents)
    objects = {uid: index for index, uid in enumerate(contents.objects)}
    texts = _Texts()
    return {
        "folder": folder,
        "listed": len(contents.listed),
        "objects": [_object(item, contents.counts.imported) for item in contents.objects.values()],
        "views": _columns([contents.views[key] for key in number], objects, texts),
        "texts": texts.all,
        "turntables": [
            {"object": objects[uid], "views": [number[key] for key in keys]}
            for uid, keys in contents.turned.items()
        ],
        "thumbnails": _sheets(contents.thumbnails),
        "frames": _sheets(contents.frames),
    }


class _Texts:
    """Numbers texts in the order in which they come."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int | None:
        if text is None:
            return None
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]

    def numbers(self, texts: Iterable[str] | None) -> list[int | None] | None:
        return None if texts is None else [self.number(text) for text in texts]


def view_numbers(contents: Contents) -> Mapping[Key, int]:
    """Number the views as `page_data` does."""
    return {key: index for index, key in enumerate(dict.fromkeys([*contents.listed, *contents.views]))}


def _object(item: DatasetObject, imported: Container[str]) -> dict[str, Any]:
    return {
        "uid": item.uid,
        "name": item.name,
        "category": item.category,
        "source": item.source,
        "split": item.split,
        "license": item.license,
        "creator": item.creator,
        "url": web_address(item.source_url),
        "rendered": item.source not in imported,
    }


def _columns(shown: Sequence[Shown], objects: Mapping[str, int], texts: _Texts) -> dict[str, list[Any]]:
    rows = [view.row for view in shown]
    return {
        "object": [objects[row["uid"]] for row in rows],
        "index": [row["view_index"] for row in rows],
        "caption": [texts.number(row["caption"]) for row in rows],
        "prompt": [texts.number(row["prompt"]) for row in rows],
        "match": [texts.number(row["category_match"]) for row in rows],
        "other": [texts.number(row["other_category"]) for row in rows],
        "defects": [texts.numbers(row["caption_flags"]) for row in rows],
        "retried": [int(bool(row["caption_retried"])) for row in rows],
        "flags": [texts.numbers(row["flags"]) for row in rows],
        "score": [_rounded(row["clip_score"], 3) for row in rows],
        "azimuth": [_rounded(row["azimuth_deg"], 1) for row in rows],
        "elevation": [_rounded(row["elevation_deg"], 1) for row in rows],
        "distance": [_rounded(row["distance"], 2) for row in rows],
        "covered": [_rounded(row["foreground_fraction"], 3) for row in rows],
        "width": [row["width"] for row in rows],
        "height": [row["height"] for row in rows],
        "thumbnail": [view.thumbnail for view in shown],
        "frame": [view.frame for view in shown],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _sheets(sheets: Sheets) -> dict[str, Any]:
    return {"columns": COLUMNS, "cells": CELLS, "lastRows": sheets.last_rows, "uris": sheets.uris}
