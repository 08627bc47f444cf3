"""The rendering stage: SelectedObject -> its Views, or one Rejected."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER, UnknownNameError
from mvcap.plan import stable_hash
from mvcap.records import Rejected, SelectedObject, View
from render.cameras import hemisphere_viewpoints
from render.encoding import ImageEncoder
from render.image_checks import REASONS, Flaw, find_flaw, foreground_fraction
from render.job import RenderedView, Renderer, RenderFailed, RenderJob, SceneSettings
from render.lights import RIGS
from render.presets import PRESETS

STAGE = "render"


def render_objects(
    objects: Iterable[SelectedObject],
    renderer: Renderer,
    *,
    seed: int,
    views: int,
    resolution: int,
    preset: str,
    samples: int | None,
    light: str,
    view_transform: str,
    background: str,
    lens_mm: float,
    sensor_mm: float,
    distance: float,
    margin: float,
    image_format: str,
    quality: int,
    keep_alpha: bool,
) -> Iterator[View | Rejected]:
    """Render every object, in order, from its own random viewpoints.

    Yields, for each object, one record per view (a `View`, or a `Rejected` where that picture is flawed),
    or exactly one `Rejected` for the whole object where it failed or no picture is good.

    Args:
        seed: with the object's uid it decides the viewpoints.
        views: pictures of each object.
        resolution: width and height in pixels.
        samples: per pixel; the preset's own number where None.
        background: `#rrggbb`, behind the object.
        distance: of the cameras from the origin, in object units; more where an object needs it.
        margin: share of the half frame that stays free around the object.
        image_format: `jpeg` or `png`; `keep_alpha` needs `png`.
        quality: of a JPEG, 1 to 100.

    Raises:
        UnknownNameError: there is no such light or preset; raised by the call, not by the iterator.
    """
    scene = make_scene(
        resolution=resolution,
        lens_mm=lens_mm,
        sensor_mm=sensor_mm,
        light=light,
        preset=preset,
        samples=samples,
        view_transform=view_transform,
    )
    encoder = ImageEncoder(format=image_format, quality=quality, background=background, keep_alpha=keep_alpha)
    jobs = (
        (selected, make_job(selected, seed=seed, views=views, distance=distance, margin=margin, scene=scene))
        for selected in objects
    )
    return chain.from_iterable(render_object(selected, job, renderer, encoder) for selected, job in jobs)


def make_job(
    selected: SelectedObject, *, seed: int, views: int, distance: float, margin: float, scene: SceneSettings
) -> RenderJob:
    rng = np.random.default_rng([seed, stable_hash(selected.uid)])
    return RenderJob(
        uid=selected.uid,
        asset=selected.record.asset,
        rotation=selected.record.rotation,
        viewpoints=tuple(hemisphere_viewpoints(views, rng)),
        distance=distance,
        margin=margin,
        scene=scene,
    )


def render_object(
    selected: SelectedObject, job: RenderJob, renderer: Renderer, encoder: ImageEncoder
) -> Iterator[View | Rejected]:
    try:
        pictures = renderer.render(job)
    except RenderFailed as failure:
        yield reject_failed(selected.uid, failure)
    else:
        yield from judge(selected, pictures, encoder)


def make_scene(
    *,
    resolution: int,
    lens_mm: float,
    sensor_mm: float,
    light: str,
    preset: str,
    samples: int | None,
    view_transform: str,
) -> SceneSettings:
    """Look up the named parts of a scene; `samples` replaces the preset's own number.

    Raises:
        UnknownNameError: there is no such light or preset.
    """
    if light not in RIGS:
        raise UnknownNameError("light", light, list(RIGS))
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, list(PRESETS))
    sampling = PRESETS[preset]
    return SceneSettings(
        resolution=resolution,
        lens_mm=lens_mm,
        sensor_mm=sensor_mm,
        light=RIGS[light],
        sampling=sampling if samples is None else replace(sampling, samples=samples),
        view_transform=view_transform,
    )


def judge(
    selected: SelectedObject, pictures: list[RenderedView], encoder: ImageEncoder
) -> Iterator[View | Rejected]:
    """Turn good pictures into views and flawed ones into rejections; all flawed make one rejection."""
    flaws = [find_flaw(picture.rgba) for picture in pictures]
    if flaws and all(flaws):
        yield reject_all(selected.uid, [flaw for flaw in flaws if flaw])
        return
    for index, (picture, flaw) in enumerate(zip(pictures, flaws, strict=True)):
        if flaw:
            message = f"the picture is {flaw}, unlike others of this object"
            yield Rejected(selected.uid, STAGE, REASONS[flaw], message, view_index=index)
        else:
            yield make_view(selected, index, picture, encoder)


def make_view(selected: SelectedObject, index: int, picture: RenderedView, encoder: ImageEncoder) -> View:
    return View(
        object=selected,
        view_index=index,
        image=encoder.encode(picture.rgba),
        background=encoder.background,
        width=picture.camera.width,
        height=picture.camera.height,
        camera=picture.camera,
        foreground_fraction=foreground_fraction(picture.rgba),
    )


def reject_all(uid: str, flaws: list[Flaw]) -> Rejected:
    counts = ", ".join(f"{flaws.count(flaw)} {flaw}" for flaw in sorted(set(flaws)))
    reason = EMPTY_RENDER if set(flaws) == {"blank"} else BAD_VIEWS
    return Rejected(uid, STAGE, reason, f"no picture of {len(flaws)} is usable: {counts}")


def reject_failed(uid: str, failure: RenderFailed) -> Rejected:
    return Rejected(
        uid,
        STAGE,
        failure.reason,
        failure.message,
        attempts=failure.attempts,
        signal=failure.signal,
        log_tail=failure.log_tail,
    )
