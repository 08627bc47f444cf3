"""From options to what a run needs: its configuration, its runner, its slice."""

import os
from pathlib import Path
from typing import Any, Final

from mvcap.cli.options import say
from mvcap.errors import UsageError
from mvcap.slices import parse_slice, slurm_slice

PICTURES_PER_SHARD: Final = 512
"""Of a folder of pictures, most of which stand for themselves: as much work as some objects' views."""


def configure(
    recipe: str | None,
    models: Path | None,
    overrides: list[str] | None,
    *,
    base: dict[str, Any] | None = None,
    captions: bool = True,
) -> Any:
    """Make a `mvcap.config.Config` of a recipe, or of a dataset's own settings (`base`), and what changes it.

    Args:
        models: a folder that takes the place of the recipe's sources.
        captions: whether the captioner's options count; those of a command that writes none may lack.
    """
    from mvcap.plugins import options_model
    from mvcap.recipes import apply_overrides, build_config, read_recipe

    settings = base if base is not None else read_recipe(recipe) if recipe else {}
    if models:
        settings = settings | {"sources": [{"source": "folder", "options": {"path": str(models)}}]}
    return build_config(apply_overrides(settings, overrides or []), options_model, captions=captions)


def picture_overrides(views: int | None, resolution: int | None, preset: str | None) -> list[str]:
    """Write the options of pictures that were given as `--set` takes them; a `--set` after them wins."""
    given = {"views": views, "resolution": resolution, "preset": preset}
    return [f"render.{name}={value}" for name, value in given.items() if value is not None]


def configure_pictures(recipe: str | None, folder: Path, overrides: list[str] | None) -> Any:
    """Configure a folder of pictures as the source; what the recipe says of the plan is kept."""
    from mvcap.recipes import read_recipe

    settings = read_recipe(recipe) if recipe else {}
    settings.pop("filter", None)  # it chooses 3D objects
    plan = {"objects_per_shard": PICTURES_PER_SHARD, "splits": {"train": 1.0}} | settings.get("plan", {})
    sources = [{"source": "images", "options": {"path": str(folder)}}]
    return configure(None, None, overrides, base=settings | {"plan": plan, "sources": sources})


def make_runner(name: str, address: str | None, config: Any) -> Any:
    """Return the `pipelines.stages.Runner` of that name; Ray is imported for its own alone."""
    drop_views = not config.run.keep_views
    if name == "local":
        from pipelines.runners.local import LocalRunner

        if address is not None:
            raise UsageError("--address needs --runner ray")
        return LocalRunner(drop_views=drop_views)
    if name == "ray":
        from pipelines.runners.ray_environment import prepare

        cluster = prepare(address)  # before Ray is imported
        from pipelines.runners.ray import RayRunner

        return RayRunner(address=cluster, drop_views=drop_views)
    raise UsageError(f"unknown runner {name!r} (valid: local, ray)")


def slice_of(text: str | None) -> tuple[int, int] | None:
    """Read `K/N`; None, for all of it, where there is nothing to read."""
    return None if text is None else parse_slice(text)


def slurm_part() -> tuple[int, int] | None:
    """Take the slice from a SLURM array, and say so."""
    if part := slurm_slice(os.environ):
        say(f"slice {part[0]}/{part[1]}, from the SLURM array; --shard would win")
    return part
