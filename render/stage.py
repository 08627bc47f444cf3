"""The rendering stage: SelectedObject -> its Views, or one Rejected."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER, UnknownNameError, UsageError
from mvcap.files import sha256_of
from mvcap.plan import stable_hash
from mvcap.records import CameraLaw, ExtraName, Extras, Rejected, SelectedObject, View
from render.backgrounds import Backgrounds
from render.cameras import draw_viewpoints
from render.encoding import ImageEncoder
from render.image_checks import REASONS, Flag, Verdict, foreground_fraction, judge_picture
from render.job import RenderedView, Renderer, RenderFailed, RenderJob, SceneSettings
from render.lights import RIGS
from render.passes import encode_extras
from render.presets import PRESETS

STAGE = "render"


def render_objects(
    objects: Iterable[SelectedObject | Rejected],
    renderer: Renderer,
    *,
    seed: int,
    views: int,
    resolution: int,
    preset: str,
    samples: int | None,
    light: str,
    view_transform: str,
    device: str,
    background: str,
    backgrounds: Backgrounds | None,
    lens_mm: float,
    sensor_mm: float,
    law: CameraLaw,
    elevation_deg: float,
    distance: float,
    distance_jitter: float,
    fov_jitter: float,
    margin: float,
    image_format: str,
    quality: int,
    keep_alpha: bool,
    max_bad_views: float,
    extras: tuple[ExtraName, ...] = (),
    only_view: int | None = None,
) -> Iterator[View | Rejected]:
    """Render every object, in order, from its own viewpoints.

    Yields, for each object, one record per view (a `View`, or a `Rejected` where that picture is flawed),
    or exactly one `Rejected` for the whole object where it failed or no picture is good. One that is rejected
    already is passed on.

    Args:
        seed: with the object's uid it decides the viewpoints.
        views: pictures of each object.
        resolution: width and height in pixels.
        samples: per pixel or sub-pixel; what the preset finds enough where None.
        device: see `render.job.SceneSettings`.
        background: `#rrggbb`, behind the object where there are no `backgrounds`.
        law: how the viewpoints are spread over the upper hemisphere.
        elevation_deg: of the law `ring`.
        distance: of the cameras from the origin, in object units; more where an object needs it.
        distance_jitter: share by which each distance varies, in [0, 0.5].
        fov_jitter: share by which each field of view varies, in [0, 0.5].
        margin: share of the half frame that stays free around the object.
        image_format: `jpeg` or `png`; `keep_alpha` needs `png`.
        quality: of a JPEG, 1 to 100.
        max_bad_views: share of an object's pictures that may be bad, in [0, 1]; with more it is rejected.
        extras: what is stored of each view besides its picture.
        only_view: render this one of each object's views, as it is among all of them,
            however bad those are.

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
        device=device,
        passes=not {"depth", "normals"}.isdisjoint(extras),
    )
    encoder = ImageEncoder(format=image_format, quality=quality, background=background, keep_alpha=keep_alpha)
    finish = Finish(encoder, backgrounds, extras)
    # A renderer may tune itself to an object by the first viewpoint: view 0 is always among the rendered.
    rendered = list(range(views)) if only_view is None else sorted({0, only_view})
    tolerated = max_bad_views if only_view is None else 1.0
    positions = {index: at for at, index in enumerate(rendered) if only_view in (None, index)}

    def make_job(selected: SelectedObject) -> RenderJob:
        viewpoints = draw_viewpoints(
            law,
            views,
            np.random.default_rng([seed, stable_hash(selected.uid)]),
            elevation_deg=elevation_deg,
            distance_jitter=distance_jitter,
            fov_jitter=fov_jitter,
        )
        return RenderJob(
            uid=selected.uid,
            asset=selected.record.asset,
            rotation=selected.record.rotation,
            viewpoints=tuple(viewpoints[index] for index in rendered),
            distance=distance,
            margin=margin,
            scene=scene,
            portrait=only_view is None,
        )

    return chain.from_iterable(
        [selected]
        if isinstance(selected, Rejected)
        else render_object(selected, make_job(selected), positions, renderer, finish, tolerated)
        for selected in objects
    )


@dataclass(frozen=True, slots=True)
class Finish:
    """What turns a renderer's picture into a stored one."""

    encoder: ImageEncoder
    backgrounds: Backgrounds | None
    extras: tuple[ExtraName, ...]

    def extras_of(self, picture: RenderedView) -> Extras | None:
        if not self.extras:
            return None
        return encode_extras(self.extras, picture.rgba, picture.passes, picture.camera.distance)

    def apply(self, uid: str, view_index: int, rgba: NDArray[np.uint8]) -> tuple[bytes, str | None]:
        """Return the encoded picture and the name of what was put behind the object, if anything was."""
        if self.backgrounds is None:
            return self.encoder.encode(rgba), None
        name = self.backgrounds.choose(uid, view_index)
        return self.encoder.encode(rgba, self.backgrounds.pixels(name, len(rgba))), name


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a picture was made from, and by whom."""

    asset_sha256: str | None
    renderer: str


def render_object(
    selected: SelectedObject,
    job: RenderJob,
    positions: Mapping[int, int],
    renderer: Renderer,
    finish: Finish,
    max_bad_views: float,
) -> Iterator[View | Rejected]:
    """Render one object; `positions` says where, among the job's viewpoints, each wanted view index is."""
    try:
        pictures = renderer.render(job)
    except RenderFailed as failure:
        yield reject_failed(selected.uid, failure)
    else:
        versions = " ".join(f"{name} {version}" for name, version in renderer.versions().items())
        provenance = Provenance(asset_sha256(job.asset), versions)
        wanted = {index: pictures[position] for index, position in positions.items()}
        yield from judge(selected, wanted, finish, provenance, max_bad_views)


def asset_sha256(asset: str) -> str | None:
    """Hash a model file; None where it cannot be read, which the fake renderer does not mind."""
    try:
        return sha256_of(Path(asset))
    except OSError:
        return None


def make_scene(
    *,
    resolution: int,
    lens_mm: float,
    sensor_mm: float,
    light: str,
    preset: str,
    samples: int | None,
    view_transform: str,
    device: str = "auto",
    passes: bool = False,
) -> SceneSettings:
    """Look up the named parts of a scene; `samples` replaces the preset's own ladder of efforts.

    Raises:
        UnknownNameError: there is no such light or preset.
    """
    if light not in RIGS:
        raise UnknownNameError("light", light, list(RIGS))
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, list(PRESETS))
    sampling = PRESETS[preset]
    if sampling.has_sub_pixels and view_transform != "Standard":
        raise UsageError(f"the preset {preset} knows the view transform Standard only, not {view_transform}")
    return SceneSettings(
        resolution=resolution,
        lens_mm=lens_mm,
        sensor_mm=sensor_mm,
        light=RIGS[light],
        sampling=sampling if samples is None else sampling.with_samples(samples),
        view_transform=view_transform,
        device=device,
        passes=passes,
    )


def judge(
    selected: SelectedObject,
    pictures: Mapping[int, RenderedView],
    finish: Finish,
    provenance: Provenance,
    max_bad_views: float,
) -> Iterator[View | Rejected]:
    """Turn good pictures into views and flawed ones into rejections; too many bad ones make one rejection."""
    verdicts = {index: judge_picture(picture.rgba, picture.facts) for index, picture in pictures.items()}
    if verdicts and not_worth_keeping(list(verdicts.values()), max_bad_views):
        yield reject_all(selected.uid, list(verdicts.values()), max_bad_views)
        return
    for index, picture in pictures.items():
        if flaw := verdicts[index].flaw:
            message = f"the picture is {flaw}, unlike others of this object"
            yield Rejected(selected.uid, STAGE, REASONS[flaw], message, view_index=index)
        else:
            yield make_view(selected, index, picture, finish, provenance, verdicts[index].flags)


def not_worth_keeping(verdicts: list[Verdict], max_bad_views: float) -> bool:
    bad = sum(verdict.is_bad for verdict in verdicts)
    return all(verdict.flaw for verdict in verdicts) or bad > max_bad_views * len(verdicts)


def make_view(
    selected: SelectedObject,
    index: int,
    picture: RenderedView,
    finish: Finish,
    provenance: Provenance,
    flags: tuple[Flag, ...],
) -> View:
    image, backdrop = finish.apply(selected.uid, index, picture.rgba)
    return View(
        object=selected,
        view_index=index,
        image=image,
        background=finish.encoder.background,
        width=picture.camera.width,
        height=picture.camera.height,
        camera=picture.camera,
        foreground_fraction=foreground_fraction(picture.rgba),
        backdrop=backdrop,
        asset_sha256=provenance.asset_sha256,
        renderer=provenance.renderer,
        flags=flags,
        facts=picture.facts,
        portrait=picture.portrait,
        extras=finish.extras_of(picture),
    )


def reject_all(uid: str, verdicts: list[Verdict], max_bad_views: float) -> Rejected:
    """Reject an object by what was found in its pictures; one picture may count for several faults."""
    faults = [fault for verdict in verdicts for fault in verdict.faults]
    counts = ", ".join(f"{faults.count(fault)} {fault}" for fault in sorted(set(faults)))
    reason = EMPTY_RENDER if all(verdict.flaw == "blank" for verdict in verdicts) else BAD_VIEWS
    bad = sum(verdict.is_bad for verdict in verdicts)
    message = f"{bad} of {len(verdicts)} pictures are bad: {counts}; max_bad_views={max_bad_views:g}"
    return Rejected(uid, STAGE, reason, message)


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
