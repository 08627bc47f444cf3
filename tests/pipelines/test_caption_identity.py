"""In float32 on a CPU a caption depends on picture and prompt alone, wherever and however it is written."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captions.tiny.untrained import build_untrained_checkpoint
from mvcap.config import Config
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.stages import Runner
from pipelines.todo import Request

NAMES = ("chairs/a", "coffee_tables/b", "cups/c", "pogo-sticks/d", "lamps/e")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_untrained_checkpoint(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def make_config(models: Callable[..., Path], fake_config: Callable[..., Config], model: Path):
    """Configure the small InstructBLIP over rendered tetrahedra of five categories."""
    folder = models(*NAMES)

    def make(**changes: object) -> Config:
        options = f"{{model: {model}, device: cpu, max_new_tokens: 8}}"
        return fake_config(folder, captions__backend="instructblip", captions__options=options, **changes)

    return make


def captions_of(out: Path) -> dict[tuple[str, int], str]:
    tables = [pq.read_table(path).to_pylist() for path in (out / "data").glob("*.parquet")]
    return {(row["uid"], row["view_index"]): row["caption"] for rows in tables for row in rows}


def caption(config: Config, out: Path, runner: Runner | None = None, **request: object) -> None:
    build(config, Request(out, **request), runner or LocalRunner(drop_views=False), lambda _: None)


def test_captions_are_the_same_in_any_batch_with_any_threads_and_resumed(make_config, tmp_path):
    out = tmp_path / "whole"
    caption(make_config(captions__batch_size=64), out)
    expected = captions_of(out)
    assert len(expected) == 15
    assert len(set(expected.values())) > 5

    for batch_size, decoders in ((1, 1), (4, 3)):
        single = tmp_path / f"batch-{batch_size}"
        caption(make_config(captions__batch_size=batch_size, captions__decoders=decoders), single)
        assert captions_of(single) == expected

    resumed = tmp_path / "resumed"
    caption(make_config(), resumed, caption=False)
    caption(make_config(captions__batch_size=2), resumed, render=False, part=(1, 3))
    assert None in captions_of(resumed).values()
    caption(make_config(captions__batch_size=5), resumed, render=False)
    assert captions_of(resumed) == expected


@pytest.mark.ray
def test_captions_are_the_same_with_ray(make_config, tmp_path):
    ray_runner = pytest.importorskip("pipelines.runners.ray")
    caption(make_config(), tmp_path / "local")
    ray_connection = pytest.importorskip("pipelines.runners.ray_connection")
    with ray_connection.connected(None):
        caption(make_config(), tmp_path / "ray", ray_runner.RayRunner(drop_views=False))
    assert captions_of(tmp_path / "ray") == captions_of(tmp_path / "local")
