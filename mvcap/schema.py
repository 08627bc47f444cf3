"""The columns of a dataset's tables, and the version of their schemas.

The files carry the metadata by which `datasets.load_dataset` decodes images; pandas, Polars, DuckDB and
Ray Data read them as plain Parquet.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mvcap.errors import CorruptDatasetError

SCHEMA_VERSION = 4
"""2 added `flags`, `asset_sha256` and `renderer`; 3 what is known of a caption's quality and of model files,
and `mask`, `depth`, `depth_scale` and `normals`; 4 what is known of near-duplicates. What an older version
left is null."""

OBJECTS = "objects.parquet"
FAILURES = "failures.parquet"
SCORES = "caption_scores.parquet"
"""Written only where a CLIP scored the captions."""

EXTRAS = ("mask", "depth", "normals")
"""Columns of pictures, always PNG, that most views do not have."""
PICTURES = ("image", *EXTRAS)

HIDDEN_COLOUR = "#000000"
"""Stands for the colour of a view with a picture behind it, in which no colour can be seen."""

CAMERA_CONVENTION = (
    "World: +Z up, right-handed; the object is normalised to the unit cube at the origin. "
    "Azimuth 0 is +X and grows counter-clockwise towards +Y; elevation 90 is straight above. "
    "Camera: OpenGL, -Z forward, +Y up. camera_to_world: 4x4, row-major. "
    "fx, fy, cx, cy in pixels, origin at the picture's top left corner, pixel centres at half-integers. "
    "fov_deg is horizontal; distance is measured from the origin in edges of the unit cube."
)

DEPTH_ABOUT = (
    "16 bits: distance of what is seen at the pixel's centre from the camera's plane, along its axis, in "
    "steps of depth_scale; 0 where nothing is, null unless asked for"
)
NORMALS_ABOUT = (
    "8 bits: x, y, z of the normal at the pixel's centre in the world, -1 at 0 and 1 at 255; black where "
    "nothing is, null unless asked for"
)
FLAGS_ABOUT = "over_exposed, under_exposed, tiny_subject, clipped, untextured; null: not checked"
CAPTION_FLAGS_ABOUT = (
    "cut, echoes_prompt, render_artefact, repeats, too_short; null: the caption was not judged"
)
AGREEMENT_ABOUT = (
    "of its captions that name a {0}, the share that names the commonest; null: fewer than two do"
)
BACKGROUND_ABOUT = "colour behind the object, where alpha is composited on it; or the picture's file name"
DUPLICATE_OF_ABOUT = (
    "uid of the first object that it looks like; every split but train comes before train. null: it looks "
    "like none before it, or, as with imported pictures, none was looked for"
)

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FLAGS = pa.list_(pa.string())
MATRIX = pa.list_(pa.float32())  # not fixed-size: pyarrow 25 cannot read a null back from one


def _column(name: str, kind: pa.DataType, nullable: bool = True, about: str = "") -> pa.Field:
    return pa.field(name, kind, nullable, {"description": about} if about else None)


VIEW_COLUMNS = [
    _column("uid", pa.string(), False),
    _column("source", pa.string(), False),
    _column("source_id", pa.string(), False, "the source's own id of the object"),
    _column("category", pa.string(), False),
    _column("view_index", pa.int32(), False),
    _column("image", IMAGE),  # never null, but `datasets` decodes nullable image columns only
    _column("caption", pa.string(), True, "null until captioned"),
    _column("prompt", pa.string()),
    _column("captioner", pa.string(), True, "who wrote the caption; the commit records hold every detail"),
    _column("category_match", pa.string(), True, "exact, plural or synonym; null: it is not named"),
    _column("other_category", pa.string(), True, "category of the dataset that the caption names instead"),
    _column("caption_flags", FLAGS, True, CAPTION_FLAGS_ABOUT),
    _column("caption_retried", pa.bool_(), True, "the better of two: the first attempt had a defect"),
    _column("clip_score", pa.float32(), True, "cosine of picture and caption, where it was asked for"),
    _column("background", pa.string(), False, BACKGROUND_ABOUT),
    _column("azimuth_deg", pa.float32(), True, CAMERA_CONVENTION),
    _column("elevation_deg", pa.float32(), True, CAMERA_CONVENTION),
    _column("distance", pa.float32(), True, CAMERA_CONVENTION),
    _column("fov_deg", pa.float32(), True, CAMERA_CONVENTION),
    _column("fx", pa.float32(), True, CAMERA_CONVENTION),
    _column("fy", pa.float32(), True, CAMERA_CONVENTION),
    _column("cx", pa.float32(), True, CAMERA_CONVENTION),
    _column("cy", pa.float32(), True, CAMERA_CONVENTION),
    _column("camera_to_world", MATRIX, True, CAMERA_CONVENTION),
    _column("width", pa.int32(), False),
    _column("height", pa.int32(), False),
    _column("foreground_fraction", pa.float32(), True, "share of the picture that the object covers"),
    _column("mask", IMAGE, True, "8 bits: how much of each pixel the object covers; null unless asked for"),
    _column("depth", IMAGE, True, DEPTH_ABOUT),
    _column("depth_scale", pa.float32(), True, "object units for each step of depth"),
    _column("normals", IMAGE, True, NORMALS_ABOUT),
    _column("flags", FLAGS, True, FLAGS_ABOUT),
    _column("duplicate_of", pa.string(), True, DUPLICATE_OF_ABOUT),
    _column("license", pa.string()),
    _column("creator", pa.string()),
    _column("source_url", pa.string()),
    _column("asset_sha256", pa.string(), True, "of the model file that was rendered"),
    _column("renderer", pa.string(), True, "what made the picture, and its version"),
    _column("split", pa.string(), False),
]

ASSET_COLUMNS = [
    _column("asset_sha256", pa.string(), True, "of the model file; null where nothing was rendered"),
    _column("triangles", pa.int64()),
    _column("vertices", pa.int64(), True, "those that are rendered"),
    _column("nonfinite_vertices", pa.int64(), True, "NaN or infinite: deleted"),
    _column("outlier_faces", pa.int64(), True, "wildly far from all others: deleted"),
    _column("textures", pa.int64(), True, "pictures that were read"),
    _column("missing_textures", pa.list_(pa.string()), True, "pictures that could not be read"),
    _column("coloured", pa.bool_(), True, "whether anything gives it another colour than the default grey"),
]
"""What is known of a model file; an object's commit record holds the values."""

OBJECT_COLUMNS = [
    _column("uid", pa.string(), False),
    _column("source", pa.string(), False),
    _column("source_id", pa.string(), False),
    _column("name", pa.string(), False),
    _column("category", pa.string(), False),
    _column("similarity", pa.float32()),
    _column("front_azimuth_deg", pa.float32(), True, "azimuth from which the front is seen, where known"),
    _column("split", pa.string(), False),
    _column("shard", pa.int32(), False),
    _column("status", pa.string(), False, "done, partial, failed, pending or removed"),
    _column(
        "reason", pa.string(), True, "why the object, or one of its views, failed; or why it was removed"
    ),
    _column("views", pa.int32(), False, "rows of this object in the data"),
    *ASSET_COLUMNS,
    _column("duplicate_of", pa.string(), True, DUPLICATE_OF_ABOUT),
    _column("duplicate_split", pa.string(), True, "the split of that object"),
    _column("category_named", pa.float32(), True, "share of its captions that name its category"),
    _column("category_agreement", pa.float32(), True, AGREEMENT_ABOUT.format("category")),
    _column("colour_agreement", pa.float32(), True, AGREEMENT_ABOUT.format("colour")),
    _column("identical_captions", pa.float32(), True, "share that another of its views has too"),
    _column("license", pa.string()),
    _column("creator", pa.string()),
    _column("source_url", pa.string()),
]

FAILURE_COLUMNS = [
    _column("uid", pa.string(), False),
    _column("view_index", pa.int32(), True, "null where the whole object failed"),
    _column("stage", pa.string(), False),
    _column("reason", pa.string(), False),
    _column("attempts", pa.int32(), False),
    _column("signal", pa.string()),
    _column("message", pa.string(), False),
    _column("log_tail", pa.string()),
]

SCORE_COLUMNS = [
    _column("uid", pa.string(), False),
    _column("view_index", pa.int32(), False),
    _column("category", pa.string(), False),
    _column("elevation_bin", pa.string(), False, "degrees, or unknown"),
    _column("clip_score", pa.float32(), False, "cosine of picture and caption"),
    _column("clip_percentile", pa.float32(), False, "[0, 100], within category and elevation bin"),
]

PLANNED_COLUMNS = [
    _column("shard", pa.int32(), False),
    _column("uid", pa.string(), False),
    _column("source", pa.string(), False),
    _column("source_id", pa.string(), False),
    _column("name", pa.string(), False),
    _column("asset", pa.string(), False),
    _column("license", pa.string()),
    _column("creator", pa.string()),
    _column("source_url", pa.string()),
    _column("rotation", pa.list_(pa.float64())),
    _column("front_azimuth_deg", pa.float64()),
    _column("category", pa.string(), False),
    _column("similarity", pa.float64()),
    _column("asset_bytes", pa.int64()),
]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """Describe a column as the `datasets` library does."""
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _schema(columns: list[pa.Field]) -> pa.Schema:
    features = {column.name: _feature(column.type) for column in columns}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "mvcap_schema": str(SCHEMA_VERSION),
    }
    return pa.schema(columns, metadata)


VIEW_SCHEMA = _schema(VIEW_COLUMNS)
OBJECT_SCHEMA = _schema(OBJECT_COLUMNS)
FAILURE_SCHEMA = _schema(FAILURE_COLUMNS)
SCORE_SCHEMA = _schema(SCORE_COLUMNS)
PLANNED_SCHEMA = _schema(PLANNED_COLUMNS)
"""What a worker needs to know of each planned object; kept inside `_mvcap/`."""

TABLES: Mapping[str, pa.Schema] = {OBJECTS: OBJECT_SCHEMA, FAILURES: FAILURE_SCHEMA, SCORES: SCORE_SCHEMA}
"""The tables beside the views, by the names of their files."""


def check_version(schema: pa.Schema, where: str) -> None:
    """Refuse a file that a newer mvcap, or something else, wrote.

    Raises:
        CorruptDatasetError: the schema's version is missing or newer than ours.
    """
    version = (schema.metadata or {}).get(b"mvcap_schema", b"").decode()
    if not version.isdigit():
        raise CorruptDatasetError(f"{where} was not written by mvcap: it carries no schema version")
    if int(version) > SCHEMA_VERSION:
        raise CorruptDatasetError(
            f"{where} has schema version {version}; this mvcap reads up to {SCHEMA_VERSION}"
        )
