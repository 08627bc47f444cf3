"""The render stage: the render room set up from the configuration."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mvcap import plugins
from mvcap.commits import RENDER
from mvcap.config import Config, producing_settings
from mvcap.records import Rejected, SelectedObject, View
from mvcap.schema import SCHEMA_VERSION
from pipelines.fetching import fetch_ahead, open_fetchers
from pipelines.renderer_versions import Versions, refuse_another_node
from pipelines.stages import Resources, Stage
from render.backgrounds import Backgrounds, fingerprint
from render.job import Renderer
from render.stage import make_scene, render_objects


class RenderWorker:
    """A `pipelines.stages.Worker` around a renderer that runs.

    Raises:
        MixedRenderersError: it has another version than `expected`, the driver's, and none but that may be.
    """

    def __init__(self, config: Config, expected: Versions | None = None) -> None:
        self._config = config
        self._renderer = open_renderer(config)
        try:
            refuse_another_node(config, self._renderer.versions(), expected)
        except BaseException:
            self._renderer.close()
            raise
        self._fetchers = open_fetchers(config)

    @property
    def made_by(self) -> Mapping[str, Any]:
        return {"name": self._config.render.backend, **self._renderer.versions()}

    @property
    def busy_s(self) -> None:
        return None

    def __call__(self, records: Iterable[SelectedObject]) -> Iterator[View | Rejected]:
        present = fetch_ahead(records, self._fetchers, threads=self._config.run.fetchers)
        return render_objects(present, self._renderer, **stage_arguments(self._config))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renderer.close()


def stage_arguments(config: Config) -> dict[str, Any]:
    """Return what `render.stage.render_objects` takes.

    Raises:
        UsageError: the folder of backgrounds holds none.
    """
    render = config.render
    return {
        "seed": config.seed,
        "views": render.views,
        **scene_arguments(config),
        "background": render.background,
        "backgrounds": open_backgrounds(config),
        "law": render.camera.law,
        "elevation_deg": render.camera.elevation_deg,
        "distance": render.camera.distance,
        "distance_jitter": render.camera.distance_jitter,
        "fov_jitter": render.camera.fov_jitter,
        "margin": render.camera.margin,
        "image_format": render.image.format,
        "quality": render.image.quality,
        "keep_alpha": render.image.keep_alpha,
        "max_bad_views": render.max_bad_views,
        "extras": render.extras,
    }


def scene_arguments(config: Config) -> dict[str, Any]:
    """Return what `render.stage.make_scene` takes: the part of the settings that may hold unknown names."""
    render = config.render
    return {
        "resolution": render.resolution,
        "lens_mm": render.camera.lens_mm,
        "sensor_mm": render.camera.sensor_mm,
        "light": render.light,
        "preset": render.preset,
        "samples": render.samples,
        "view_transform": render.view_transform,
        "device": render.device,
    }


def open_backgrounds(config: Config) -> Backgrounds | None:
    """Open the folder of pictures that stand behind the objects, if there is one.

    Raises:
        UsageError: it is missing, cannot be read, or holds no picture.
    """
    folder = config.render.backgrounds
    return Backgrounds.open(Path(folder), seed=config.seed) if folder is not None else None


def open_renderer(config: Config) -> Renderer:
    """Create the configured renderer."""
    backend = plugins.load("render.backends", config.render.backend)
    renderer: Renderer = backend.create(config.render.options, interpreter=config.render.blender)
    return renderer


def check_renderer(config: Config) -> Mapping[str, str]:
    """Make sure that the renderer starts and knows the names in the settings, and return its versions.

    Raises:
        RendererUnavailableError: it does not start.
        UnknownNameError: there is no such light or preset.
    """
    make_scene(**scene_arguments(config))
    with open_renderer(config) as renderer:
        return renderer.versions()


def render_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides the pixels and rows of the render stage.

    Raises:
        UsageError: the folder of backgrounds holds none, or one that is no picture.
    """
    # What the name of the preset stands for: pictures made by other numbers do not mix with these.
    sampling = asdict(make_scene(**scene_arguments(config)).sampling)
    settings = {
        "seed": config.seed,
        "schema": SCHEMA_VERSION,
        **producing_settings(config.render),
        **{f"sampling.{name}": value for name, value in sampling.items()},
    }
    if config.render.backgrounds is not None:
        behind = fingerprint(Path(config.render.backgrounds))
        settings |= {f"backgrounds.{name}": value for name, value in behind.items()}
    return settings


def render_stage(
    config: Config, settings: str, expected: Versions | None = None
) -> Stage[SelectedObject, View]:
    """Return the stage; `expected` are the versions that every worker has to have."""
    children = config.run.children_per_gpu
    resources = Resources(gpus=1 / children if children else 0.0).changed_by(config.run.render_resources)
    workers = config.run.render_workers
    return Stage(RENDER, settings, partial(RenderWorker, config, expected), resources, workers)
