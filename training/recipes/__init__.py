"""Recipes for training, one YAML file each, and how they are read."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from mvcap import plugins, recipes
from mvcap.errors import ConfigError, MvcapError
from training.config import ModelConfig, TrainingConfig

PACKAGE = "training.recipes"


def read_config(name_or_file: str, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a recipe by its name, or a YAML file, with `a.b=c` changes, and validate all of it.

    Raises:
        UnknownNameError: there is no such recipe.
        ConfigError: with a line for every problem.
    """
    return build_config(recipes.apply_overrides(recipes.read_recipe(name_or_file, PACKAGE), overrides))


def build_config(settings: dict[str, Any]) -> TrainingConfig:
    """Validate settings together with the options of the model they name.

    Raises:
        ConfigError: with a line for every problem.
    """
    problems: list[str] = []
    config = None
    try:
        config = TrainingConfig.model_validate(settings)
    except ValidationError as error:
        problems += recipes.problem_lines(error, TrainingConfig)
    section = settings.get("model") or {}
    options = None
    try:
        name = section.get("backend", ModelConfig().backend)
        model = plugins.options_model("training.backends", name)
        options = model.model_validate(section.get("options", {}))
    except ValidationError as error:
        problems += recipes.problem_lines(error, model, prefix="model.options.")
    except MvcapError as error:
        problems.append(f"model: {error}")
    if problems or config is None:
        raise ConfigError(problems)
    return config.model_copy(update={"model": config.model.model_copy(update={"options": options})})
