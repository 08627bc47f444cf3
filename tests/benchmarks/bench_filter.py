"""The filter against the bare matrix product that it cannot do without.

800,000 x 1280 int8 embeddings, as many as Objaverse has objects, against 1,600 categories, in a process of
its own each: CPU-seconds, wall seconds and peak memory, which counts the mapped pages of the file too. It
fails only where the two disagree about the nearest category or the memory passes 4 GB, never on time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

OBJECTS = int(os.environ.get("BENCH_FILTER_OBJECTS", 800_000))
DIMENSIONS, CATEGORIES = 1280, 1600
ROOT = Path(__file__).parents[2]

MEASURED = """
import json, sys, time
from pathlib import Path
import numpy as np

folder = sys.argv[1]

def report(begun, begun_cpu_s, **found):
    status = Path("/proc/self/status").read_text().split()
    found["cpu_s"] = time.process_time() - begun_cpu_s
    found["wall_s"] = time.monotonic() - begun
    found["peak_gb"] = int(status[status.index("VmHWM:") + 1]) * 1024 / 1e9
    print(json.dumps(found))
"""
BARE = (
    MEASURED
    + """
vectors = np.load(folder + "/vectors.npy")
features = np.load(folder + "/float_rows.npy")  # 2048 rows, the same in every product
count = int(sys.argv[2])
begun = time.monotonic(), time.process_time()
for start in range(0, count, len(features)):
    products = features @ vectors.T
report(*begun)
"""
)
OURS = (
    MEASURED
    + """
from mvcap import plugins, recipes
from pipelines.filtering import filter_to_files
from pipelines.runners.local import LocalRunner
settings = {"filter": {"file": folder + "/objaverse.pt", "category_vectors": folder + "/vectors.npy",
                       "min_similarity": -1, "min_margin": 0, "keep": 24495}}
config = recipes.build_config(settings, plugins.options_model, captions=False)
begun = time.monotonic(), time.process_time()
summary = filter_to_files(config, Path(folder) / "chosen.parquet", LocalRunner(), lambda _: None)
report(*begun, verdicts=summary["verdicts"])
"""
)


@pytest.mark.timeout(0)
def test_the_filter_takes_less_than_twice_the_bare_product(tmp_path: Path):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    features = rng.integers(-90, 91, (OBJECTS, DIMENSIONS), dtype=np.int8)
    torch.save(
        {"us": [f"{n:032x}" for n in range(OBJECTS)], "feats": torch.from_numpy(features)},
        tmp_path / "objaverse.pt",
    )
    vectors = rng.standard_normal((CATEGORIES, DIMENSIONS), dtype=np.float32)
    np.save(tmp_path / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    (tmp_path / "vectors.names.txt").write_text("\n".join(f"thing {n}" for n in range(CATEGORIES)))
    np.save(tmp_path / "float_rows.npy", features[:2048].astype(np.float32))
    del features
    results = {}
    for name, script, *more in (("bare product", BARE, str(OBJECTS)), ("filter", OURS)):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), *more],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        results[name] = json.loads(done.stdout)
        r = results[name]
        print(f"\n{name:12} {r['cpu_s']:7.1f} CPU-s {r['wall_s']:7.1f} s {r['peak_gb']:5.2f} GB peak", end="")
    ratio = results["filter"]["cpu_s"] / results["bare product"]["cpu_s"]
    print(
        f"\n{OBJECTS:,} x {DIMENSIONS} int8, {CATEGORIES} categories: "
        f"{ratio:.2f} x the bare product's CPU time"
    )
    assert results["filter"]["verdicts"]["selected"] == min(24_495, OBJECTS)
    assert results["filter"]["peak_gb"] < 4
