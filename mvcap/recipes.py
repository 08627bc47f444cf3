"""Read a configuration: recipes, `--set a.b=c`, and all problems reported at once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mvcap.config import CaptionsConfig, Config, RenderConfig
from mvcap.errors import ConfigError, MvcapError, UnknownNameError, UsageError, did_you_mean

MERGE_TAG = "tag:yaml.org,2002:merge"
"""Of the key `<<`, which takes the settings of another mapping."""

SECRET_NAMES = re.compile(r"key|token|secret|password|url")
"""Settings whose refused values are not repeated: someone may have pasted a secret there."""

PLUGIN_KEYS = ("backend", "source")
"""Settings that name a plugin, whose own `options` stand beside them."""

BUILDS = "mvcap.configs"
"""Package of the recipes that build datasets; `training.recipes` has those that train."""

OptionsModel = Callable[[str, str], type[BaseModel]]
"""Given a plugin package and a name, the `Options` model in that plugin's file."""

PYDANTIC_PREFIX: Final = "Value error, "
"""What pydantic puts before a validator's own message."""


def recipe_names(package: str = BUILDS) -> list[str]:
    """List the recipes that ship in a package."""
    shipped = (entry.name for entry in files(package).iterdir())
    return sorted(name.removesuffix(".yaml") for name in shipped if name.endswith(".yaml"))


def read_recipe(name_or_file: str, package: str = BUILDS) -> dict[str, Any]:
    """Read a shipped recipe by its name, or a YAML file by its path.

    Raises:
        UnknownNameError: neither a recipe of that name nor such a file exists.
        UsageError: the file is missing or cannot be read.
        ConfigError: the file is not a YAML mapping.
    """
    text = _recipe_text(name_or_file, package)
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError([f"{name_or_file} is not valid YAML: {error}"]) from error
    if not isinstance(content, dict):
        raise ConfigError([f"{name_or_file} must hold a mapping of settings, not {type(content).__name__}"])
    return content


def _recipe_text(name_or_file: str, package: str) -> str:
    try:
        if name_or_file in recipe_names(package):
            return (files(package) / f"{name_or_file}.yaml").read_text("utf-8")
        if Path(name_or_file).is_file():
            return Path(name_or_file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {name_or_file}: {error}") from error
    if name_or_file.endswith((".yaml", ".yml")) or "/" in name_or_file:
        raise UsageError(f"there is no configuration file {name_or_file}")
    raise UnknownNameError("recipe", name_or_file, recipe_names(package))


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which YAML would settle in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != MERGE_TAG]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def apply_overrides(settings: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b=c` assignments to nested settings; values are read as YAML.

    A value that starts with `#` is a colour, not a comment. Choosing another backend or source drops the
    options of the old one, which would mean nothing to it; further assignments may give it its own.

    Raises:
        ConfigError: an assignment is not of that form, or its path leads through a plain value.
    """
    changed: dict[str, Any] = _copied(settings)
    problems = []
    for override in sorted(overrides, key=_is_about_options):
        path, equals, text = override.partition("=")
        try:
            if not (equals and path):
                raise ValueError("write it as a.b=value")
            value = text if text.startswith("#") else yaml.safe_load(text)
            _assign(changed, path.split("."), value)
        except (ValueError, KeyError, IndexError, TypeError, yaml.YAMLError) as error:
            problems.append(f"--set {override}: {error}")
    if problems:
        raise ConfigError(problems)
    return changed


def _assign(container: Any, path: list[str], value: Any) -> None:
    for depth, step in enumerate(path):
        if not isinstance(container, dict | list):
            raise ValueError(f"{'.'.join(path[:depth])} holds a plain value, not settings")
        key: Any = int(step) if isinstance(container, list) else step
        if depth == len(path) - 1:
            if isinstance(container, dict) and key in PLUGIN_KEYS and container.get(key, value) != value:
                container.pop("options", None)
            container[key] = value
        else:
            container = container[key] if isinstance(container, list) else container.setdefault(key, {})


def _is_about_options(override: str) -> bool:
    return ".options" in override.partition("=")[0]


def _copied(settings: Any) -> Any:
    """Copy nested settings; what YAML's anchors share becomes separate."""
    if isinstance(settings, dict):
        return {key: _copied(value) for key, value in settings.items()}
    return [_copied(value) for value in settings] if isinstance(settings, list) else settings


def build_config(
    settings: Mapping[str, Any], options_model: OptionsModel, *, captions: bool = True
) -> Config:
    """Validate settings together with the options of every backend and source they name.

    Args:
        settings: nested plain values, as read from a recipe.
        options_model: finds the `Options` of a plugin; the command line passes `mvcap.plugins`' own.
        captions: whether the captioner's options matter; its file imports torch.

    Raises:
        ConfigError: with one line for every problem, each naming the nearest valid name.
    """
    problems: list[str] = []
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        problems += list(problem_lines(error, Config))
        config = None
    resolved: dict[str, BaseModel] = {}
    for location, package, name, options in _plugin_sections(settings):
        if location == "captions" and not captions:
            continue
        try:
            model = options_model(package, name)
            resolved[location] = model.model_validate(options)
        except ValidationError as error:
            problems += list(problem_lines(error, model, prefix=f"{location}.options."))
        except MvcapError as error:
            problems.append(f"{location}: {error}")
    if problems or config is None:
        raise ConfigError(problems)
    return _with_options(config, resolved)


def _plugin_sections(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield (location, package, plugin name, options) for every section that names a plugin."""
    for section, package, default in (
        ("render", "render.backends", RenderConfig().backend),
        ("captions", "captions.backends", CaptionsConfig().backend),
    ):
        chosen = settings.get(section, {})
        if isinstance(chosen, Mapping):
            yield section, package, str(chosen.get("backend", default)), chosen.get("options", {})
    sources = settings.get("sources", [])
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        if isinstance(source, Mapping) and "source" in source:
            yield f"sources.{index}", "mvcap.sources", str(source["source"]), source.get("options", {})


def _with_options(config: Config, resolved: Mapping[str, BaseModel]) -> Config:
    sources = [
        source.model_copy(update={"options": resolved[f"sources.{index}"]})
        for index, source in enumerate(config.sources)
    ]
    sections = {
        name: getattr(config, name).model_copy(update={"options": resolved[name]})
        for name in ("render", "captions")
        if name in resolved
    }
    return config.model_copy(update={"sources": sources, **sections})


def problem_lines(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield a line for each problem, with the nearest valid name for an unknown one."""
    for problem in error.errors():
        where = prefix + ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            valid = _field_names(model, problem["loc"][:-1])
            nearest = did_you_mean(str(problem["loc"][-1]), valid)
            yield f"{where}: unknown key{nearest} (valid: {', '.join(valid) or 'none'})"
        else:
            got = "***" if SECRET_NAMES.search(where) else repr(problem["input"])
            yield f"{where}: {problem['msg'].removeprefix(PYDANTIC_PREFIX)} (got {got})"


def _field_names(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names that are valid at a location inside a model."""
    for step in location:
        if isinstance(step, str) and step in model.model_fields:
            model = _inner_model(model.model_fields[step].annotation) or model
    return sorted(model.model_fields)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for argument in get_args(annotation) if (inner := _inner_model(argument))), None)
