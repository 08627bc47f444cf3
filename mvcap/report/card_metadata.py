"""The YAML at the top of a dataset card, by which the hub and `datasets` know what it holds."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import pyarrow as pa
from huggingface_hub import DatasetCardData

from mvcap import schema

HUB_LICENSES: Final = frozenset(
    {
        "cc0-1.0",
        *(f"cc-by{more}-{version}" for more in ("", "-sa", "-nc", "-nc-sa") for version in ("3.0", "4.0")),
        *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0"),
        *("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "unlicense"),
    }
)
"""The hub's own names, in https://huggingface.co/docs/hub/repositories-licenses; all else is `other`."""
SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card_metadata(
    name: str,
    *,
    views: int,
    splits: Collection[str],
    licenses: Iterable[str],
    data_bytes: int,
    current: bool,
    failed: bool,
    scored: bool,
) -> DatasetCardData:
    """Describe a dataset to the hub.

    The sizes of its splits are left to `mvcap push`: `datasets` refuses a folder whose rows are not as many
    as its card says, and captioning or a second try may change them.

    Args:
        licenses: of the objects, as the sources name them.
        data_bytes: of the files of views, compressed as they are.
        current: whether the files of views have all columns of this version; `datasets` fails over a column
            that a card promises.
        failed: whether the table of failures has rows; `datasets` fails over a table that has none.
        scored: whether there is a table of CLIP scores.
    """
    further = [
        *([(schema.FAILURES, schema.FAILURE_SCHEMA)] if failed else []),
        *([(schema.SCORES, schema.SCORE_SCHEMA)] if scored else []),
    ]
    return DatasetCardData(
        pretty_name=name,
        **_licenses(licenses),
        task_categories=["image-to-text", "zero-shot-image-classification"],
        size_categories=next((name for limit, name in SIZES if views < limit), "1M<n<10M"),
        tags=["multi-view", "3d", "viewpoint-robustness", "mvcap"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
                "default": True,
            },
            {"config_name": "objects", "data_files": schema.OBJECTS},
            *({"config_name": _name(table), "data_files": table} for table, _ in further),
        ],
        dataset_info=[
            {
                "config_name": "default",
                **({"features": yaml_features(schema.VIEW_SCHEMA)} if current else {}),
                "download_size": data_bytes,
            },
            {"config_name": "objects", "features": yaml_features(schema.OBJECT_SCHEMA)},
            *(
                {"config_name": _name(table), "features": yaml_features(columns)}
                for table, columns in further
            ),
        ],
    )


def _name(table: str) -> str:
    return table.removesuffix(".parquet")


def _licenses(names: Iterable[str]) -> dict[str, Any]:
    """Name the licences as the hub does; where it does not know them all, `other` with all their names."""
    spelled = sorted(
        {re.sub(r"^(cc-.*)-us$", r"\1", name.lower()) for name in names}
    )  # a port of the licence
    if not spelled:
        return {}
    if all(name in HUB_LICENSES for name in spelled):
        return {"license": spelled[0] if len(spelled) == 1 else spelled}
    plain = [re.sub(r"[^a-z0-9.]+", "-", name).strip("-") for name in spelled]
    return {"license": "other", "license_name": "-and-".join(filter(None, plain)) or "unknown"}


def yaml_features(columns: pa.Schema) -> list[dict[str, Any]]:
    """Describe columns as `datasets` writes them into a card."""
    return [{"name": column.name, **_feature(column.type)} for column in columns]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == schema.IMAGE:
        return {"dtype": "image"}
    if pa.types.is_list(kind):
        return {"list": _feature(kind.value_type)["dtype"]}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind))}


def with_split_sizes(metadata: Mapping[str, Any], sizes: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Add to a card's metadata how many rows and bytes each split of the views has."""
    splits = [
        {"name": split, "num_bytes": size, "num_examples": rows} for split, (rows, size) in sizes.items()
    ]
    total = {"splits": splits, "dataset_size": sum(size for _, size in sizes.values())}
    infos = [
        {**info, **total} if info["config_name"] == "default" else info
        for info in metadata.get("dataset_info", [])
    ]
    return {**metadata, "dataset_info": infos}
