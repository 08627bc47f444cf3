"""The records that pass between stages: one frozen type for each boundary.

    ObjectRecord ─ a category is chosen ─► SelectedObject ─ render ─► View ─ caption ─► CaptionedView

Every stage yields, for each input, its outputs or exactly one `Rejected`.
"""

from dataclasses import dataclass
from math import atan, degrees
from typing import Literal

from mvcap.errors import Reason

Key = tuple[str, int | None]
"""uid and view index; the index is None where the whole object is meant."""

ExtraName = Literal["mask", "depth", "normals"]
"""What can be stored of a view besides its picture."""

CameraLaw = Literal["hemisphere", "angle", "ring", "hammersley"]
"""How the viewpoints of an object are spread: see `render.cameras.draw_viewpoints`."""

CategoryMatch = Literal["exact", "plural", "synonym"]
"""How a caption names a category: by its own words, in the other number, or by another name for it."""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One 3D object as its source describes it."""

    uid: str
    """Safe in a path and unique in a dataset: see `mvcap.plan.make_uid`."""
    source: str
    source_id: str
    """The source's own id, any string; never used as a path."""
    name: str
    asset: str
    """Absolute path of the model file, or of where it will be once it is fetched; of the folder or archive of
    its pictures where it has no model."""
    license: str | None
    creator: str | None
    source_url: str | None
    rotation: tuple[float, ...] | None = None
    """Row-major 3×3, applied after import in the world frame (+Z up), before normalisation."""
    front_azimuth_deg: float | None = None
    """Azimuth from which the object is seen from its front, where the source knows it."""
    asset_bytes: int | None = None
    """Size of the model file, where the source knows it before it is fetched."""


@dataclass(frozen=True, slots=True)
class SelectedObject:
    """An object with the category that its captions must name."""

    record: ObjectRecord
    category: str
    similarity: float | None = None
    """Cosine in [-1, 1] of the object's embedding to the category's; None where a person chose it."""

    @property
    def uid(self) -> str:
        return self.record.uid


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera with square pixels, looking at an object in the unit cube at the origin.

    World frame: +Z up, right-handed. Camera frame: OpenGL (+X right, +Y up, -Z forward). Of pictures that
    were not rendered here this holds as well as can be told: their source's `CAMERAS` says how well.
    """

    azimuth_deg: float
    """[0, 360): 0 is +X, 90 is +Y."""
    elevation_deg: float
    """[-90, 90]: 90 is straight above."""
    distance: float
    """From the origin, in object units (the unit cube's edge is 1)."""
    camera_to_world: tuple[float, ...]
    """Row-major 4×4."""
    width: int
    height: int
    fx: float
    """Focal length and principal point in pixels; pixel centres are at half-integers."""
    fy: float
    cx: float
    cy: float

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view."""
        return 2 * degrees(atan(self.width / (2 * self.fx)))


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What was found in a model file."""

    triangles: int
    vertices: int
    """Those that are rendered: they belong to a face, and are finite."""
    nonfinite_vertices: int
    """NaN or infinite ones, which were deleted."""
    outlier_faces: int
    """Deleted, because a vertex of theirs was wildly far from all others."""
    textures: int
    """Pictures that were read."""
    missing_textures: tuple[str, ...]
    """Pictures that are not there, cannot be read, or lie outside the asset's folder."""
    coloured: bool
    """Whether a texture, a vertex colour or a material gives it any colour but the default grey."""

    @property
    def untextured(self) -> bool:
        """Whether it shows nothing of how it is meant to look: all textures lost, or never any colour."""
        return not self.textures and (bool(self.missing_textures) or not self.coloured)


@dataclass(frozen=True, slots=True)
class Extras:
    """What a view shows besides its colours, as PNG files of the view's size; None for what was not asked."""

    mask: bytes | None
    """8-bit grey: how much of each pixel the object covers."""
    depth: bytes | None
    """16-bit grey: distance from the camera's plane along its axis; 0 where nothing is."""
    depth_scale: float | None
    """Object units for each step of `depth`."""
    normals: bytes | None
    """8-bit RGB: x, y, z in the world frame, from -1 at 0 to 1 at 255; black where nothing is."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture of an object, encoded as it will be stored."""

    object: SelectedObject
    view_index: int
    image: bytes
    """A JPEG or PNG file."""
    background: str
    """`#rrggbb` behind the object: composited already, or to be put behind the alpha that was kept.
    Nothing is seen of it where there is a `backdrop`."""
    width: int
    height: int
    camera: Camera | None
    """None where the pose is unknown."""
    foreground_fraction: float | None
    """Share of the picture that the object covers, in [0, 1]; None where no mask exists."""
    backdrop: str | None = None
    """Name of the picture that was put behind the object, in its folder; None for a plain colour."""
    asset_sha256: str | None = None
    """Of the model file that was rendered; None where it cannot be read, or nothing was rendered."""
    renderer: str | None = None
    """What made the pixels and its version, such as `blender 4.5.15 LTS`."""
    flags: tuple[str, ...] | None = None
    """What an image check found worth telling, such as `tiny_subject`; None where nothing was checked."""
    facts: AssetFacts | None = None
    """Of its object's model file; None where nothing was imported, or in a view read from a dataset."""
    extras: Extras | None = None
    portrait: bytes | None = None
    """How its object looks from fixed sides, (4, 8, 8, 4) bytes: see `render.portraits`. None where nothing
    was rendered, or in a view read from a dataset."""

    @property
    def key(self) -> Key:
        return self.object.uid, self.view_index


@dataclass(frozen=True, slots=True)
class CaptionQuality:
    """What the words of a caption show without its picture: see `captions.quality`."""

    category_match: CategoryMatch | None
    """How the caption names its category; None where it does not."""
    other_category: str | None
    """The dataset's category that is named instead; None where the own one is, or none at all."""
    flags: tuple[str, ...]
    """Defects, such as `repeats`, sorted; empty where there are none."""


@dataclass(frozen=True, slots=True)
class CaptionedView:
    """A view and the caption a model wrote for it."""

    view: View
    caption: str
    prompt: str
    quality: CaptionQuality | None = None
    """None where nothing was judged."""
    retried: bool = False
    """The first caption had a defect, and the better of two is this."""
    clip_score: float | None = None
    """Cosine in [-1, 1] of picture and caption; None where it was not asked for."""

    @property
    def key(self) -> Key:
        return self.view.key


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reason why an object, or one of its views, has no output."""

    uid: str
    stage: str
    reason: Reason
    message: str
    view_index: int | None = None
    attempts: int = 1
    signal: str | None = None
    """Name of the signal that ended the child, such as `SIGSEGV`."""
    log_tail: str | None = None

    @property
    def key(self) -> Key:
        return self.uid, self.view_index
