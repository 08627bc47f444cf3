"""Croissant metadata of a dataset on the hub, version 1.0 of the format: https://docs.mlcommons.org/croissant."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import pyarrow as pa

from mvcap import schema

PARQUET: Final = "application/x-parquet"
REPOSITORY: Final = "repository"
UNHASHED: Final = "https://github.com/mlcommons/croissant/issues/80"
"""Stands, in all Croissant files of the hub, for the checksum that a git repository has not."""
CONTEXT: Final[Mapping[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
            *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
            *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
            *("separator", "source", "subField", "transform"),
        )
    },
}
"""The context that the specification prescribes."""


def croissant(
    name: str, *, url: str, licenses: Collection[str], tables: Collection[str], cite_as: str
) -> bytes:
    """Describe a pushed dataset: its files, and a record set for the views and for each table.

    Args:
        url: of the repository's page.
        licenses: of the objects, as the sources name them.
        tables: which of `schema.TABLES` there are.
        cite_as: BibTeX.
    """
    files = [
        {
            "@type": "cr:FileObject",
            "@id": REPOSITORY,
            "name": REPOSITORY,
            "description": "The repository on the Hugging Face hub; manifest.json names all checksums.",
            "contentUrl": url,
            "encodingFormat": "git+https",
            "sha256": UNHASHED,
        },
        _file_set("view-files", "data/*.parquet"),
        *(_file_set(f"{_stem(table)}-file", table) for table in tables),
    ]
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": "Views of 3D objects, each with its camera and a caption.",
        "url": url,
        "license": sorted(licenses),
        "citeAs": cite_as,
        "distribution": files,
        "recordSet": [
            _record_set("views", "view-files", schema.VIEW_SCHEMA),
            *(_record_set(_stem(table), f"{_stem(table)}-file", schema.TABLES[table]) for table in tables),
        ],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _stem(table: str) -> str:
    return table.removesuffix(".parquet")


def _file_set(name: str, includes: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "containedIn": {"@id": REPOSITORY},
        "encodingFormat": PARQUET,
        "includes": includes,
    }


def _record_set(name: str, file_set: str, columns: pa.Schema) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [_field(name, file_set, column) for column in columns],
    }


def _field(record_set: str, file_set: str, column: pa.Field) -> dict[str, Any]:
    about = (column.metadata or {}).get(b"description", b"").decode()
    source: dict[str, Any] = {"fileSet": {"@id": file_set}, "extract": {"column": column.name}}
    kind = column.type
    if kind == schema.IMAGE:
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column.name}",
        "name": column.name,
        **({"description": about} if about else {}),
        "dataType": _data_type(kind.value_type if pa.types.is_list(kind) else kind),
        **({"repeated": True} if pa.types.is_list(kind) else {}),
        "source": source,
    }


def _data_type(kind: pa.DataType) -> str:
    if kind == schema.IMAGE:
        return "sc:ImageObject"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
