"""A folder for each split and category, as torchvision's `ImageFolder` and `datasets`' `imagefolder` read it.

    objects.parquet               who made the objects, under which licence
    train/metadata.jsonl          a line for each picture: `file_name` and every column that holds no picture
    train/office chair/UID_000.jpg

Folders are called as their categories where these are plain lower-case words, else by a slug with a hash:
`metadata.jsonl` has the category itself. Masks, depths and normals stay behind, for readers would take them
for pictures of the category.
"""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from mvcap.exports._chosen import ChosenViews, picture_suffix, plain_columns
from mvcap.exports._names import folder_name


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def export(chosen: ChosenViews, folder: Path, options: Options) -> int:
    """Write the pictures as they are stored, and their metadata."""
    views = 0
    with ExitStack() as stack:
        metadata: dict[str, IO[str]] = {}
        for uid, rows in chosen.objects():
            split, category = rows[0]["split"], folder_name(rows[0]["category"])
            (folder / split / category).mkdir(parents=True, exist_ok=True)
            if split not in metadata:
                file = (folder / split / "metadata.jsonl").open("w", encoding="utf-8")
                metadata[split] = stack.enter_context(file)
            for row in rows:
                stored = row["image"]["bytes"]
                name = f"{category}/{uid}_{row['view_index']:03d}.{picture_suffix(stored)}"
                (folder / split / name).write_bytes(stored)
                entry = {"file_name": name} | plain_columns(row)
                metadata[split].write(json.dumps(entry, ensure_ascii=False) + "\n")
                views += 1
    return views
