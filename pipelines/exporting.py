"""Write a finished dataset in a foreign layout: the folder of formats is the registry."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mvcap import files, plugins
from mvcap.errors import ConfigError, OutputError, UnknownNameError, UsageError
from mvcap.recipes import apply_overrides
from mvcap.storage import Store
from pipelines.finish import survey

PACKAGE = "mvcap.exports"


def export_dataset(root: Path, format_name: str, out: Path, assignments: Sequence[str] = ()) -> int:
    """Export a dataset and return how many views were written.

    The folder gets its name once all is written; a failed or stopped export leaves none of that name.

    Args:
        format_name: such as `mvcap-json`.
        out: must not exist, or be empty.
        assignments: `name=value` for the format's `Options`.

    Raises:
        UsageError: an unknown format or option, an unfinished dataset, a folder in use, or views that the
            format cannot hold.
    """
    known = [name.replace("_", "-") for name in plugins.names(PACKAGE)]
    if format_name not in known:
        raise UnknownNameError("export format", format_name, known)
    module = plugins.load(PACKAGE, format_name.replace("-", "_"))
    options = _options(module.Options, assignments)
    store = Store(root)
    plan = store.require_plan()
    if not survey(store, plan).complete:
        raise UsageError(f"{root} is not finished; the command that began it goes on with it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is in use: export into a new folder with --out")
    temporary = files.temporary_name(out.absolute())
    try:
        with files.disk_full_explained(out):
            temporary.mkdir(parents=True)
            views: int = module.export(store, plan, temporary, options)
            temporary.replace(out.absolute())
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return views


def _options(model: type[BaseModel], assignments: Sequence[str]) -> BaseModel:
    try:
        return model.model_validate(apply_overrides({}, assignments))
    except ValidationError as error:
        valid = ", ".join(model.model_fields)
        problems = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (valid: {valid})"
            for problem in error.errors()
        ]
        raise ConfigError(problems) from error
