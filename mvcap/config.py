"""The configuration: typed and strict. `mvcap.recipes` reads it from files.

A backend's or source's own options are an `Options` model in its own file, named here by `backend` (or
`source`) and `options`.

Settings that change how fast or how safely a result is made, but not the result, are marked
`OPERATIONAL` and stay out of a stage's settings, so that workers and deadlines can change between runs.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from mvcap.records import CameraLaw, ExtraName

OPERATIONAL = "operational"
"""Marks a field (`Annotated[int, OPERATIONAL]`) that does not change what is produced."""

UNNAMED = "custom"
"""The name of a recipe that has none: what comes of it is called by its folder, `mvcap.report.titles`."""

TRAINING = "train"
"""The split that models learn from: what must not be learnt is kept out of the split of this name."""

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
"""A path that workers read, which have working directories of their own."""

PAPER_PROMPT = (
    "Write a short description for the image, noting that the main instance of the image is a {category}."
)
"""The category-guided prompt of the paper (OVT, ECCV 2024, section on MVCap's captions)."""

HEX_COLOUR = r"^#[0-9a-fA-F]{6}$"


def _hex_colour(text: str) -> str:
    if not re.fullmatch(HEX_COLOUR, text):
        raise ValueError("a colour is # and six hex digits, such as #808080")
    return text


Colour = Annotated[str, AfterValidator(_hex_colour)]


class Section(BaseModel):
    """A part of the configuration: frozen, and strict about its names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExpectedCounts(Section):
    """What to count on where a source's files are not on this machine."""

    objects: int = Field(ge=0)
    views_per_object: float | None = Field(None, gt=0)
    """Of a source of pictures, in the mean; `render.views` where null."""
    bytes_per_view: float | None = Field(None, gt=0)
    """Of a source of pictures, in the mean; unknown where null."""


class SourceConfig(Section):
    """A corpus of objects: a file of `mvcap/sources/` and its options."""

    source: str
    options: dict[str, Any] | SerializeAsAny[BaseModel] = {}
    expected: Annotated[ExpectedCounts | None, OPERATIONAL] = None
    """For `mvcap plan`; nothing else looks at it."""


class PlanConfig(Section):
    """How objects become shards."""

    objects_per_shard: int = Field(32, ge=1)
    splits: dict[str, float] = {"train": 0.9, "test": 0.1}
    """Share of the objects in each split; the shares add up to 1."""
    evaluation: str | tuple[str, ...] = ()
    """Objects that must not be trained on: uids, ids of their source, paths of assets or of folders of
    assets; or the name of a file with one of these on each line. What a dataset has once kept out of its
    training stays out."""
    evaluation_split: str | None = "test"
    """The split that they go to; null leaves them out of the dataset."""

    @model_validator(mode="after")
    def _check_splits(self) -> "PlanConfig":
        if not self.splits or abs(sum(self.splits.values()) - 1) > 1e-6 or min(self.splits.values()) < 0:
            raise ValueError(f"the shares must be positive and add up to 1, not {self.splits}")
        kept_out = () if self.evaluation_split is None else (self.evaluation_split,)
        if bad := [name for name in (*self.splits, *kept_out) if not name.isidentifier()]:
            raise ValueError(f"split names must be plain words, not {bad}")
        if self.evaluation_split == TRAINING:
            raise ValueError(f"evaluation_split must be another split than {TRAINING}, or null")
        return self

    @field_validator("evaluation")
    @classmethod
    def _make_absolute(cls, named: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return str(Path(named).expanduser().absolute()) if isinstance(named, str) else named


class CameraConfig(Section):
    """Where the cameras stand on the upper hemisphere, looking at the object."""

    law: CameraLaw = "hemisphere"
    """`hemisphere`: at random, uniform by area. `angle`: at random, uniform in azimuth and in elevation,
    which favours the top. `ring`: evenly around at `elevation_deg`. `hammersley`: evenly by area."""
    elevation_deg: float = Field(30.0, ge=0, le=90)
    """Of a ring's cameras; 30 as in SyncDreamer's sixteen views."""
    lens_mm: float = Field(35.0, gt=0)
    """Lens and sensor as in objaverse-rendering, hence in MVCap: a 49.1° field of view."""
    sensor_mm: float = Field(32.0, gt=0)
    distance: float = Field(1.5, gt=0)
    """From the centre of the unit cube; an object that would be cut off is seen from farther away."""
    distance_jitter: float = Field(0.0, ge=0, le=0.5)
    """Each view's distance varies by up to this share, closer only as far as the object stays in frame."""
    fov_jitter: float = Field(0.0, ge=0, le=0.5)
    """Each view's field of view varies by up to this share; the object stays in frame."""
    margin: float = Field(0.04, ge=0, lt=0.5)
    """Share of the frame's half width that stays free around the object."""


class ImageConfig(Section):
    """How a picture is stored."""

    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = Field(95, ge=1, le=100)
    """Of a JPEG; chroma is never subsampled."""
    keep_alpha: bool = False
    """Store the alpha channel (PNG only) instead of compositing on the background."""

    @model_validator(mode="after")
    def _check_alpha(self) -> "ImageConfig":
        if self.keep_alpha and self.format != "png":
            raise ValueError("keep_alpha needs format: png")
        return self


class RenderConfig(Section):
    """What the pictures look like, and which renderer makes them."""

    backend: str = "blender"
    views: int = Field(100, ge=1)
    resolution: int = Field(512, ge=16, le=8192)
    """Width and height in pixels."""
    preset: str = "physical"
    samples: int | None = Field(None, ge=1)
    """Samples per pixel; the preset's own number where null."""
    light: str = "studio"
    background: Colour = "#ffffff"
    extras: tuple[ExtraName, ...] = ()
    """Stored beside each picture: `mask`, `depth` and `normals`, in columns of these names."""
    max_bad_views: float = Field(0.5, ge=0, le=1)
    """Share of an object's pictures that may be bad: blank, black, over-exposed or cut off. An object with
    more is rejected."""
    backgrounds: Annotated[str | None, OPERATIONAL] = None
    """A folder of pictures, one of which is put behind each view instead of the colour. Its content, not
    its place, is part of what decides the pictures."""
    view_transform: Literal["Standard", "AgX", "Filmic", "Khronos PBR Neutral", "Raw"] = "Standard"
    """Blender's own names; `Standard` is plain sRGB."""
    camera: CameraConfig = CameraConfig()
    image: ImageConfig = ImageConfig()
    device: Literal["auto", "cpu", "optix", "cuda", "hip", "metal", "oneapi"] = "auto"
    """What traces the rays: `auto` takes the first kind of GPU that Blender finds, else the CPU. The one
    taken is part of each view's `renderer`."""
    blender: Annotated[str | None, OPERATIONAL] = None
    """A `blender` binary or a Python that has bpy; this Python where null."""
    options: dict[str, Any] | SerializeAsAny[BaseModel] = {}

    @field_validator("backgrounds")
    @classmethod
    def _make_absolute(cls, folder: str | None) -> str | None:
        """Workers, and whoever makes a picture again, have working directories of their own."""
        return None if folder is None else str(Path(folder).expanduser().absolute())

    @model_validator(mode="after")
    def _check_backgrounds(self) -> "RenderConfig":
        if self.backgrounds is not None and self.image.keep_alpha:
            raise ValueError("backgrounds cannot be put behind the object where image.keep_alpha is true")
        return self


class ClipConfig(Section):
    """A CLIP that scores captions by their pictures; off by default."""

    model: str | None = None
    """Name on the hub, or a local folder; no scores where null."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch."""


class CaptionsConfig(Section):
    """Which captioner writes, and what it is asked."""

    backend: str = "instructblip"
    prompt: str = PAPER_PROMPT
    """The paper's prompt; without `{category}` captions are unguided."""
    batch_size: Annotated[int, OPERATIONAL, Field(ge=1)] = 64
    threads: Annotated[int, OPERATIONAL, Field(ge=1)] = 1
    """CPU threads of each captioner; the renderers want the other cores."""
    decoders: Annotated[int, OPERATIONAL, Field(ge=1)] = 2
    """Threads of each captioner that decode and resize pictures ahead of it."""
    synonyms: Annotated[Literal["auto", "table", "wordnet"], OPERATIONAL] = "auto"
    """Names that count as a category's: our `table`, or `wordnet` too for what it lacks; `auto` takes WordNet
    where it is installed. What was chosen, with its version, is part of what decides the quality columns."""
    control_views: Annotated[int, OPERATIONAL, Field(ge=1)] = 200
    """Views that `mvcap caption DIR --control unguided` captions without their category."""
    wordnet: Annotated[str, OPERATIONAL] = "/usr/share/wordnet"
    """Folder of WordNet's files; Debian's `wordnet-base` puts them there."""
    clip: ClipConfig = ClipConfig()
    options: dict[str, Any] | SerializeAsAny[BaseModel] = {}


class FilterConfig(Section):
    """Which objects are semantically clear, and what they are: see `mvcap.selection`.

    The thresholds' defaults are ours: the paper does not tell its own. `keep` finds one by a number.
    """

    embeddings: Literal["openshape", "clip_views"] = "openshape"
    """`openshape`: the published embeddings, for the `objaverse` source. `clip_views`: the mean of a CLIP's
    embeddings of a few pictures, for models of any source."""
    file: Annotated[str | None, OPERATIONAL] = None
    """The published embeddings, or others of their format; fetched from the hub where null."""
    categories: Annotated[str | None, OPERATIONAL] = None
    """`lvis`, `imagenet`, or a file with a name a line. Where null: those that `category_vectors` names, else
    `lvis`."""
    category_vectors: Annotated[str | None, OPERATIONAL] = None
    """A `.npy` or `.safetensors` file instead of what `model` would make of the categories."""
    model: str = "ViT-bigG-14"
    """An OpenCLIP model, or a folder with one; OpenShape's embeddings fit ViT-bigG-14."""
    pretrained: str | None = "laion2b_s39b_b160k"
    """Its weights: a tag of open_clip's or a file; null for a folder."""
    templates: Literal["openai", "plain"] = "openai"
    """Sentences around a category: the 80 that CLIP was evaluated with, or "a photo of a ..."."""
    min_similarity: float = Field(0.2, ge=-1, le=1)
    """Cosine to the nearest category."""
    min_margin: float = Field(0.02, ge=0, le=2)
    """By which the nearest category must be nearer than the second."""
    agreement: Literal["ignored", "required", "waives_margin"] = "ignored"
    """What it counts for that an object's own name or tags name its category; `openshape` only."""
    per_category: int | None = Field(None, ge=1)
    """At most so many objects of a category, the most similar."""
    keep: int | None = Field(None, ge=1)
    """So many objects in all, the most similar of those that pass."""
    views: int = Field(6, ge=1)
    """Pictures of each object for `clip_views`."""
    resolution: int = Field(224, ge=16)
    """Of these pictures, in pixels."""

    @model_validator(mode="after")
    def _check_agreement(self) -> "FilterConfig":
        if self.agreement != "ignored" and self.embeddings != "openshape":
            raise ValueError("agreement needs embeddings: openshape, whose objects have names and tags")
        return self


class ResourcesConfig(Section):
    """What each worker of a stage reserves of its node on Ray; what is null stays as the stage has it."""

    cpus: float | None = Field(None, ge=0)
    gpus: float | None = Field(None, ge=0)
    """A share of one, or whole ones. For captioners null is one, where the cluster has any."""
    memory_gb: float | None = Field(None, ge=0)
    custom: dict[str, float] | None = None
    """Of names that nodes were started with: `{renders: 1}` where `ray start --resources` gave `renders`."""

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError(f"gpus={gpus} must be a share of one GPU, or whole ones")
        return gpus


class RunConfig(Section):
    """How a run uses the machine; nothing here changes what is produced."""

    render_workers: int | None = Field(None, ge=1)
    """Blender children; one for each CPU of the machine or cluster where null."""
    children_per_gpu: int | None = Field(None, ge=1)
    """Blender children that share one GPU. On Ray each then reserves its part of a GPU; where null they
    reserve none, and Ray shows them none."""
    render_resources: ResourcesConfig = ResourcesConfig()
    """Of each renderer; a CPU where null."""
    caption_resources: ResourcesConfig = ResourcesConfig()
    """Of each captioner; no CPU where null: it shares them with the renderers."""
    fetchers: int = Field(2, ge=1)
    """Threads of each renderer that fetch models ahead of it, where they come over a network."""
    caption_workers: int | None = Field(None, ge=1)
    """Captioners; one for each GPU where null, or a single one without GPUs."""
    filter_workers: int | None = Field(None, ge=1)
    """Chunks of embeddings compared at once; on Ray one for each CPU where null, else a single one, whose
    matrix product uses the threads that OMP_NUM_THREADS allows."""
    gb_in_flight: float | None = Field(None, gt=0)
    """GB of rendered views, rendered or about to be, that may wait for captions at once: renderers then wait
    for captioners. Half of the free disk where null; no bound on object storage."""
    shards_in_flight: int | None = Field(None, ge=1)
    """Shards begun and not yet finished; as many as `gb_in_flight` allows where null."""
    keep_views: bool = False
    """Keep the rendered views beside the finished data, at twice the disk space."""
    mixed_renderers: bool = False
    """Let other versions of the renderer than the dataset's own, or the driver's, render further shards."""
    logs: bool = True
    """Write what each worker does as JSON lines: into `_mvcap/logs/` of the dataset, or into mvcap's cache
    folder on each machine where the dataset lies in an object store."""


class Config(Section):
    """A whole recipe."""

    name: str = UNNAMED
    seed: int = Field(0, ge=0, lt=2**63)
    sources: list[SourceConfig] = []
    filter: FilterConfig | None = None
    """Take only what is semantically clear; everything that the sources list where null."""
    plan: PlanConfig = PlanConfig()
    render: RenderConfig = RenderConfig()
    captions: CaptionsConfig = CaptionsConfig()
    run: Annotated[RunConfig, OPERATIONAL] = RunConfig()


def producing_settings(model: BaseModel) -> dict[str, Any]:
    """Return the settings that change what is produced, flat: `{"camera.lens_mm": 35.0, ...}`."""
    flat: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        if OPERATIONAL in field.metadata:
            continue
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            flat |= {f"{name}.{inner}": setting for inner, setting in producing_settings(value).items()}
        else:
            flat[name] = model.model_dump(mode="json", include={name})[name]
    return flat


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Hash settings, independent of their order: 16 hex digits."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Map each setting that differs to its (old, new) values; a missing one counts as None.

    A list that was read from JSON is the same as a tuple.
    """
    changed = {key for key in {*old, *new} if _as_json(old.get(key)) != _as_json(new.get(key))}
    return {key: (old.get(key), new.get(key)) for key in changed}


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
