"""What a recipe needs and this machine lacks: files, models, tokens, programs, room. Nothing is fetched."""

import shutil
from collections.abc import Iterator
from typing import Final

from huggingface_hub import get_token
from pydantic import ValidationError

from mvcap.config import Config
from mvcap.errors import MvcapError
from mvcap.places import ObjectPlace, Place
from mvcap.quantities import quantity
from pipelines.captioning import check_captioner, with_captioner_options
from pipelines.counting import COUNTED, SourceCount
from pipelines.doctor import Finding
from pipelines.estimating import Estimate
from pipelines.filter_inputs import find_categories, find_embeddings, find_vectors
from pipelines.rendering import check_renderer

SPARE: float = 1.1
"""Room to have beyond the data: rendered views lie beside it until they are captioned."""

ANOTHER_MODEL: Final = "name another with --set captions.options.model"


def find_missing(config: Config, estimate: Estimate, out: Place) -> Iterator[Finding]:
    """Look at everything that the recipe needs, and say of each whether it is here."""
    yield from map(_source, estimate.sources)
    yield from _filter(config)
    if any(count.rendered for count in estimate.sources):
        yield _blender(config)
    yield _captioner(config)
    yield _gpu()
    yield _token()
    yield _room(estimate, out)


def _source(count: SourceCount) -> Finding:
    if count.problem is not None:
        return Finding(count.source, False, _headline(count.problem))
    if count.how != COUNTED:
        return Finding(count.source, True, "listed once the filter has chosen")
    if count.absent:
        of = quantity(count.objects or 0, "model")
        return Finding(count.source, False, f"{count.absent:,} of {of} not here yet")
    return Finding(count.source, True, quantity(count.objects or 0, "object"))


def _filter(config: Config) -> Iterator[Finding]:
    """Look for what the filter reads: embeddings, names, and the vectors of these or what makes them."""
    section = config.filter
    if section is None or section.embeddings != "openshape":
        return
    try:
        path = find_embeddings(section)
        yield Finding("embeddings", path.exists(), str(path))
    except MvcapError as error:
        yield Finding("embeddings", False, _headline(str(error)))
    try:
        categories = find_categories(config, section)
        if section.category_vectors is None:
            made = f"{len(categories.names or ())} names, for {section.model} to make vectors of"
            yield Finding("categories", True, made, "filter.category_vectors takes a file of them")
        else:
            yield Finding("categories", True, f"{len(find_vectors(section, categories).names)} vectors")
    except MvcapError as error:
        yield Finding("categories", False, _headline(str(error)))


def _blender(config: Config) -> Finding:
    try:
        versions = check_renderer(config)
        return Finding("renderer", True, " ".join(f"{name} {version}" for name, version in versions.items()))
    except MvcapError as error:
        return Finding("renderer", False, _headline(str(error)), "`mvcap doctor` says what to install")


def _captioner(config: Config) -> Finding:
    """Check the captioner, but never ask a server: that may cost money."""
    try:
        config = with_captioner_options(config)
        captions = config.captions
        if url := getattr(captions.options, "base_url", None):
            return Finding("captioner", True, f"a server, which was not asked: {url}")
        check_captioner(config)
    except ValidationError as error:
        return Finding("captioner", False, _headline(str(error)))
    except MvcapError as error:
        remedy = "\n".join(line.strip() for line in str(error).splitlines()[1:])
        return Finding("captioner", False, _headline(str(error)), remedy or ANOTHER_MODEL)
    named = getattr(captions.options, "model", None)
    return Finding("captioner", True, f"{captions.backend} {named}" if named else captions.backend)


def _gpu() -> Finding:
    if shutil.which("nvidia-smi"):
        return Finding("GPU", True, "NVIDIA driver found")
    return Finding("GPU", True, "none: rendering and captions run on the CPU")


def _token() -> Finding:
    if get_token():
        return Finding("hub token", True, "there is one")
    return Finding("hub token", True, "none; only gated models and data sets need one (`hf auth login`)")


def _room(estimate: Estimate, out: Place) -> Finding:
    needed = (estimate.bytes or 0) * SPARE
    if isinstance(out, ObjectPlace):
        detail = f"about {needed / 1e9:,.0f} GB needed at {out}, which does not say how much room it has"
        return Finding("disk", True, detail)
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:,.0f} GB free at {place}, about {needed / 1e9:,.0f} GB needed"
    return Finding("disk", free >= needed, detail, "give a folder on a larger disk with --out")


def _headline(message: str) -> str:
    """Return the first line, without the failed attempt to fetch: a plan makes none on purpose."""
    first = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return first.partition(" and cannot be fetched")[0]
