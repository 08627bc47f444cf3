"""Our Parquet shards against loose PNG files with one metadata.json, which is what MVCap ships.

Both hold the same pictures: real objects, rendered at 384 px. CPU-seconds of this process, the two ways in
turn, five rounds, medians. It fails only where the pictures differ, never on time.
"""

import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes, schema
from mvcap.sources.sh3f import default_library
from mvcap.tables import TableWriter
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from render.encoding import ImageEncoder

ROUNDS = 5
JPEG = ImageEncoder(format="jpeg", quality=95, background="#ffffff", keep_alpha=False)


@pytest.fixture(scope="module")
def renders(tmp_path_factory) -> Path:
    """The demo's objects, 4 views each, as lossless PNG."""
    if not default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    settings = recipes.read_recipe("demo")
    changes = ["render.views=4", "render.resolution=384", "render.samples=4", "render.image.format=png"]
    config = recipes.build_config(
        recipes.apply_overrides(settings, [*changes, "captions.backend=fake", "captions.options={}"]),
        plugins.options_model,
    )
    out = tmp_path_factory.mktemp("renders")
    build(config, Request(out), LocalRunner(), print)
    return out


def cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def compared(theirs: Callable[[], object], ours: Callable[[], object]) -> tuple[float, float]:
    """Medians of the two, measured in turn."""
    pairs = [(cpu_seconds(theirs), cpu_seconds(ours)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def decode(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def test_size_and_speed_of_reading(renders, tmp_path, capsys):
    rows = [row for path in sorted(renders.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]
    loose, shard = write_loose(rows, tmp_path / "loose"), write_shard(rows, tmp_path / "shard.parquet")
    groups = sorted({row["uid"] for row in rows}, key=[row["uid"] for row in rows].index)
    order = np.random.default_rng(0).permutation(len(rows))

    def random_loose() -> None:
        for index in order:
            decode((tmp_path / "loose" / loose[index]["path"]).read_bytes())

    def random_shard() -> None:
        with pq.ParquetFile(shard) as file:
            for index in order:
                group = groups.index(rows[index]["uid"])
                column = file.read_row_group(group, columns=["image.bytes"])["image"].combine_chunks()
                decode(column.field("bytes")[int(rows[index]["view_index"])].as_py())

    def whole_shard() -> None:
        with pq.ParquetFile(shard) as file:
            for group in range(len(groups)):
                file.read_row_group(group, columns=["image.bytes"])

    png_bytes = sum(path.stat().st_size for path in (tmp_path / "loose").rglob("*") if path.is_file())
    theirs, ours = compared(random_loose, random_shard)
    _, whole = compared(lambda: None, whole_shard)
    psnr = [peak_ratio(row, encoded) for row, encoded in zip(rows, images_of(shard), strict=True)]
    with capsys.disabled():
        print(f"\n{len(rows)} views of {len(groups)} objects at 384 px, medians of {ROUNDS} rounds")
        print(f"size               {shard.stat().st_size / png_bytes:6.2f} x the loose PNGs")
        print(f"random read+decode {theirs / ours:6.2f} x as fast (CPU-seconds)")
        print(f"whole objects      {len(rows) / whole:6.0f} images per CPU-second, not decoded")
        print(
            f"JPEG against PNG   {min(psnr):6.1f} dB at the worst, {statistics.mean(psnr):.1f} dB in the mean"
        )
    assert min(psnr) > 30


def write_loose(rows: list[dict], folder: Path) -> list[dict]:
    entries = []
    for row in rows:
        path = folder / "views" / row["uid"] / f"{row['view_index']:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])
        entries.append({"path": str(path.relative_to(folder)), "caption": row["caption"]})
    (folder / "metadata.json").write_text(json.dumps(entries))
    return entries


def write_shard(rows: list[dict], path: Path) -> Path:
    with TableWriter(path, schema.VIEW_SCHEMA) as writer:
        for uid in dict.fromkeys(row["uid"] for row in rows):
            writer.write([with_jpeg(row) for row in rows if row["uid"] == uid])
    return path


def with_jpeg(row: dict) -> dict:
    pixels = decode(row["image"]["bytes"])
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    return row | {"image": {"bytes": JPEG.encode(opaque), "path": row["image"]["path"]}}


def images_of(shard: Path) -> list[bytes]:
    return [row["image"]["bytes"] for row in pq.read_table(shard, columns=["image"]).to_pylist()]


def peak_ratio(row: dict, encoded: bytes) -> float:
    difference = decode(row["image"]["bytes"]).astype(float) - decode(encoded)
    return 10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9))
