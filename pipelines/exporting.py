"""Write a finished dataset in a foreign layout: the folder of formats is the registry."""

import ctypes
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mvcap import files, plugins
from mvcap.errors import ConfigError, OutputError, UnfinishedError, UnknownNameError
from mvcap.exports._chosen import Choice, ChosenViews
from mvcap.places import Place
from mvcap.recipes import apply_overrides, problem_lines
from mvcap.storage import Store
from pipelines.surveying import survey

PACKAGE = "mvcap.exports"


def export_formats() -> list[str]:
    """List the formats by the names of the command line."""
    return [name.replace("_", "-") for name in plugins.names(PACKAGE)]


def export_dataset(
    root: Place,
    format_name: str,
    out: Path,
    assignments: Sequence[str] = (),
    *,
    choice: Choice | None = None,
) -> int:
    """Export a dataset and return how many views were written.

    The folder gets its name once all is written and on the disk. A failed export leaves nothing, and a killed
    one a folder whose name begins with `.attempt-`, which the next export to the same place removes.

    Args:
        format_name: such as `mvcap-json`.
        out: must not exist, or be empty.
        assignments: `name=value` for the format's `Options`.
        choice: which views; all of them where None.

    Raises:
        UsageError: an unknown format or option, an unfinished dataset, nothing chosen, a filled folder, or
            views that the format cannot hold.
    """
    if format_name not in (known := export_formats()):
        raise UnknownNameError("export format", format_name, known)
    module = plugins.load(PACKAGE, format_name.replace("-", "_"))
    options = _options(module.Options, assignments)
    store = Store(root)
    plan = store.require_plan()
    if not survey(store, plan).complete:
        raise UnfinishedError(root)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already: export into a new folder with --out")
    target = out.resolve()  # of a link, what it points to
    if os.path.ismount(target) or target == Path.cwd():
        raise OutputError(f"{out} cannot be replaced by a finished folder: name a new one in it with --out")
    chosen = ChosenViews(store, plan, choice or Choice())
    try:
        with files.disk_full_explained(out), _new_folder(target) as folder:
            views: int = module.export(chosen, folder, options)
            chosen.write_attribution(folder)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error}") from error
    return views


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving, make it durable and rename it to `path`.

    What killed exports to the same path left is removed first: who is at work holds a lock on its folder.
    """
    for left in path.parent.glob(f"{files.TEMPORARY}*-{glob.escape(path.name)}"):
        with _opened(left) as descriptor:
            if _locked(descriptor):
                shutil.rmtree(left)
    temporary = files.temporary_name(path)
    temporary.mkdir(parents=True)
    try:
        with _opened(temporary) as descriptor:
            _locked(descriptor)
            yield temporary
            _flush(descriptor)
            temporary.replace(path)
        files.sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock a folder until it is closed; false where another holds it, or file systems have no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flush(descriptor: int) -> None:
    """Flush the file system that holds a folder: one call, where there may be a million files.

    Raises:
        OSError: the disk refuses.
    """
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _options(model: type[BaseModel], assignments: Sequence[str]) -> BaseModel:
    try:
        return model.model_validate(apply_overrides({}, assignments))
    except ValidationError as error:
        raise ConfigError(list(problem_lines(error, model))) from error
