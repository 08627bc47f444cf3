"""The folder is the registry."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mvcap import plugins
from mvcap.errors import MissingExtraError, UnknownNameError

PluginFolder = Callable[..., str]


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginFolder:
    """Make an importable package whose modules hold the given code, and return its name."""

    def make(**modules: str) -> str:
        package = tmp_path / "invented_backends"
        package.mkdir()
        for name, code in {"__init__": '"""Backends."""', **modules}.items():
            (package / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        return package.name

    yield make
    for name in [name for name in sys.modules if name.startswith("invented_backends")]:
        del sys.modules[name]


def test_a_new_file_is_a_plugin_at_once_and_private_files_are_none(plugin_folder: PluginFolder):
    package = plugin_folder(second="Options = int", first="", _shared="")
    assert plugins.names(package) == ["first", "second"]
    assert plugins.options_model(package, "second") is int


def test_an_unknown_name_lists_the_folder_and_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"did you mean 'folder'\? \(valid: .*folder, .*sh3f\)"):
        plugins.load("mvcap.sources", "foldr")


@pytest.mark.parametrize("name", ["../folder", "folder.os", "", "__init__", "sh3f.fetch", "Folder"])
def test_only_names_in_the_folder_are_imported(name: str):
    with pytest.raises(UnknownNameError):
        plugins.load("mvcap.sources", name)


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("bpy", r"pip install 'mvcap\[blender\]'"),
        ("transformers.models.blip", r"pip install 'mvcap\[captions\]'"),
        ("open_clip", r"pip install 'mvcap\[train\]'"),
        ("no_such_module_at_all", r"pip install no_such_module_at_all"),
    ],
)
def test_a_missing_dependency_says_what_to_install(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch, module: str, remedy: str
):
    package = plugin_folder(eager=f"import {module}")
    for name in [name for name in sys.modules if name.partition(".")[0] == module.partition(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden(module.partition(".")[0]), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=remedy) as caught:
        plugins.load(package, "eager")
    assert f"{package}.eager needs the Python module" in str(caught.value)


def test_a_plugin_with_an_error_of_its_own_is_not_taken_for_a_missing_extra(plugin_folder: PluginFolder):
    package = plugin_folder(broken="1 / 0", typo="from json import no_such_name")
    with pytest.raises(ZeroDivisionError):
        plugins.load(package, "broken")
    with pytest.raises(ImportError, match="no_such_name"):
        plugins.load(package, "typo")


class Hidden:
    """An import finder on whose machine one module is not installed."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
