"""The commands that change a dataset that is there: `retry`."""

from typing import Annotated

import typer

from mvcap.cli.app import app
from mvcap.cli.building import leave_with
from mvcap.cli.configuring import configure, make_runner
from mvcap.cli.options import Address, Dataset, RunnerName, Settings, StealLock, say
from mvcap.errors import UsageError


@app.command()
def retry(
    dataset: Dataset,
    failed: Annotated[bool, typer.Option("--failed", help="Everything that failed.")] = False,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", metavar="REASON", help="What failed for this reason; may be repeated."),
    ] = None,
    uid: Annotated[
        list[str] | None,
        typer.Option("--uid", metavar="UID", help="What failed of this object; may be repeated."),
    ] = None,
    runner: RunnerName = "ray",
    address: Address = None,
    steal_lock: StealLock = False,
    settings: Settings = None,
) -> None:
    """Try again what failed, as `failures.parquet` names it. Rows that are there keep their bytes.

    Objects are rendered and captioned as the dataset's others were; views without a caption are captioned
    again. Only what does not change a picture or caption may be set, such as a deadline. The exit code is 3
    again where something still fails.

    Example: `mvcap retry my_dataset --failed`

    Example: `mvcap retry my_dataset --reason timeout --set render.options.object_timeout_s=7200`
    """
    from mvcap.storage import Store
    from pipelines.planning import saved_settings
    from pipelines.retrying import retry as try_again
    from pipelines.second_tries import Selection

    if not (failed or reason or uid):
        raise UsageError("say what to try again: --failed for everything, or --reason REASON, or --uid UID")
    config = configure(None, None, settings, base=saved_settings(Store(dataset)))
    selection = Selection(frozenset(reason or ()), frozenset(uid or ()))
    runs = make_runner(runner, address, config)
    leave_with(try_again(config, dataset, selection, runs, say, steal_lock=steal_lock), dataset)
