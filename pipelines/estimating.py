"""What a recipe takes: objects, views, bytes and hours, from measured rates, without starting anything."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from mvcap.commits import CAPTION, RENDER
from mvcap.config import Config
from mvcap.errors import EmptyInputError
from mvcap.storage import Store
from pipelines import rates
from pipelines.counting import SourceCount, count_source
from pipelines.own_rates import OwnFigures, model_name, own_figures
from pipelines.rates import Rate

IMPORT = "import"
REMEDY = "build a few shards and name that dataset with --out"


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage has to do."""

    stage: str
    views: int | None
    """None where a source cannot be counted."""
    done: int
    """Views that the dataset has already."""
    hours: float | None
    """Of one core, or of one GPU with its process, for what is left; None where no rate was measured."""
    device: str
    """CPU or GPU; or `unknown`."""
    seconds_per_view: float | None
    """The share of each object's own cost included."""
    basis: str
    """Where the rate comes from, or how to get one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a recipe takes."""

    name: str
    sources: tuple[SourceCount, ...]
    work: tuple[Work, ...]
    bytes: float | None
    """Of the finished data; None where nothing of it is known."""
    bytes_unknown: tuple[str, ...]
    """Sources whose pictures' sizes are not known; the bytes are those of the others."""

    @property
    def objects(self) -> int:
        return sum(source.objects or 0 for source in self.sources)

    @property
    def views(self) -> int:
        return sum(source.views or 0 for source in self.sources)

    def hours(self, device: str) -> float:
        """Add up the hours of a device over the stages whose rates are known."""
        return sum(work.hours or 0.0 for work in self.work if work.device == device)

    def to_json(self) -> dict[str, Any]:
        hours = {"cpu_hours": self.hours("CPU"), "gpu_hours": self.hours("GPU")}
        return {**asdict(self), "objects": self.objects, "views": self.views, **hours}


def estimate(config: Config, store: Store | None) -> Estimate:
    """Estimate a recipe's work.

    Args:
        store: the dataset it is or will be built into; its own commit records tell the rates where they were
            made with the same settings, and what is done already.

    Raises:
        EmptyInputError: no source is configured.
    """
    if not config.sources:
        raise EmptyInputError("0 objects: no source is configured; give --models FOLDER or --config NAME")
    sources = tuple(count_source(section, config) for section in config.sources)
    own = own_figures(config, store)
    size, unknown = _bytes(config, sources, own.bytes_per_view)
    return Estimate(config.name, sources, tuple(_work(config, sources, own)), size, unknown)


def _work(config: Config, sources: Iterable[SourceCount], own: OwnFigures) -> Iterable[Work]:
    counts = list(sources)
    rendered = [count for count in counts if count.rendered]
    pictures = [count for count in counts if not count.rendered]
    done = own.done.get(RENDER, 0)
    if rendered:
        rate = own.rates.get(RENDER) or _rendering_rate(config)
        yield _stage_work(RENDER, rendered, 0 if pictures else done, rate, _no_render_rate(config))
    if pictures:
        yield _stage_work(IMPORT, pictures, 0 if rendered else done, rates.IMPORT, "")
    rate = own.rates.get(CAPTION) or rates.captioning_rate(config.captions.backend, model_name(config))
    yield _stage_work(CAPTION, counts, own.done.get(CAPTION, 0), rate, _no_caption_rate(config))


def _stage_work(stage: str, counts: list[SourceCount], done: int, rate: Rate | None, unmeasured: str) -> Work:
    known = [(count.objects, count.views) for count in counts if count.views is not None and count.objects]
    views = sum(views for _, views in known) if len(known) == len(counts) else None
    if rate is None:
        return Work(stage, views, done, None, "unknown", None, unmeasured)
    if views is None:
        return Work(stage, views, done, None, rate.device, rate.per_view_s, rate.basis)
    objects = sum(objects or 0 for objects, _ in known)
    left = max(views - done, 0) / views if views else 0.0
    seconds = objects * rate.per_object_s + views * rate.per_view_s
    each = seconds / views if views else rate.per_view_s
    return Work(stage, views, min(done, views), left * seconds / 3600, rate.device, each, rate.basis)


def _rendering_rate(config: Config) -> Rate | None:
    render = config.render
    if render.backend != "blender" or render.device not in ("auto", "cpu"):
        return None
    rate = rates.rendering_rate(render.preset, render.resolution)
    if rate and render.samples is not None:
        return replace(rate, basis=f"{rate.basis}; with the preset's own samples, not {render.samples}")
    return rate


def _no_render_rate(config: Config) -> str:
    render = config.render
    return f"not measured: {render.backend}, preset {render.preset}, device {render.device}; {REMEDY}"


def _no_caption_rate(config: Config) -> str:
    named = f"{config.captions.backend} {model_name(config) or ''}".strip()
    return f"not measured: {named}, on a GPU or otherwise; {REMEDY}"


def _bytes(
    config: Config, sources: Iterable[SourceCount], own: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """Add up what is known of the data's size, and name the sources of which it is not."""
    render = config.render
    measured = (
        None if render.image.format != "jpeg" else rates.bytes_per_view(render.preset, render.resolution)
    )
    each = own or measured
    sizes = [
        (count.source, (count.views or 0) * each if count.rendered and each else count.picture_bytes)
        for count in sources
    ]
    known = [size for _, size in sizes if size is not None]
    unknown = tuple(name for name, size in sizes if size is None)
    return (sum(known) if known else None), unknown
