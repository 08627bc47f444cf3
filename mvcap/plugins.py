"""Find a backend or a source by its name: the folder is the registry.

A plugin is one module in a package such as `captions.backends`. It holds `Options`, a pydantic model
of its own settings, and `create(options, ...)`; the package's docstring says what `create` takes and
returns. Nothing has to be listed anywhere.
"""

import importlib
import pkgutil
from types import ModuleType

from pydantic import BaseModel

from mvcap.errors import MissingExtraError, UnknownNameError

EXTRAS = {
    "bpy": "blender",
    "torch": "captions",
    "transformers": "captions",
    "safetensors": "captions",
    "open_clip": "train",
    "timm": "train",
    "matplotlib": "train",
    "peft": "train",
    "tensorboard": "train",
    "openai": "openai",
    "pycolmap": "mvimgnet",
    "lance": "lance",
}
"""Which `pip install 'mvcap[...]'` brings a module that a plugin may miss."""


def names(package: str) -> list[str]:
    """List the plugins of a package, sorted."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import one plugin.

    Raises:
        UnknownNameError: no such file in the package's folder.
        MissingExtraError: the plugin needs an optional dependency that is not installed.
    """
    if name not in (valid := names(package)):
        raise UnknownNameError(package, name, valid)
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        raise missing_extra(f"{package}.{name}", error) from error


def options_model(package: str, name: str) -> type[BaseModel]:
    """Return the `Options` model in a plugin's file."""
    model: type[BaseModel] = load(package, name).Options
    return model


def missing_extra(needed_by: str, error: ModuleNotFoundError) -> MissingExtraError:
    """Turn a failed import into an error that says what to install."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    remedy = f"pip install 'mvcap[{extra}]'" if extra else f"pip install {module}"
    return MissingExtraError(f"{needed_by} needs the Python module {module!r}: {remedy}")
