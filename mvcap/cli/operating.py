"""The commands that change or join datasets that are there: `retry`, `remove`, `merge`, `gc`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mvcap.cli.app import app
from mvcap.cli.building import leave_with
from mvcap.cli.configuring import configure, make_runner
from mvcap.cli.options import (
    Address,
    AsJson,
    Dataset,
    RunnerName,
    Settings,
    StealLock,
    path_of,
    place_of,
    say,
)
from mvcap.errors import UsageError
from mvcap.quantities import quantity


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


@app.command()
def remove(
    dataset: Dataset,
    objects: Annotated[
        list[str] | None,
        typer.Argument(metavar="UID...", help="Objects: their uids, source's ids or model files."),
    ] = None,
    uids_file: Annotated[
        Path | None,
        typer.Option("--uids-file", metavar="FILE", parser=path_of, help="More of them, one a line."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept in `objects.parquet`.")
    ] = "removed on request",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    steal_lock: StealLock = False,
) -> None:
    """Take objects out for good, as when a licence is withdrawn: their rows, pictures and captions go.

    Only the shards that hold them are rewritten. A tombstone stays, so that no build brings them back, and
    `objects.parquet` has them with status `removed`. Copies and exports that were made before keep them.

    Example: `mvcap remove my_dataset folder-chair-1a2b3c4d --reason "licence withdrawn"`
    """
    from mvcap.storage import Store
    from pipelines.evaluation_list import read_entries
    from pipelines.planning import saved_settings
    from pipelines.removing import find_doomed, remove_objects

    listed = read_entries(str(uids_file), "--uids-file") if uids_file else []
    named = [*read_entries(objects or []), *listed]  # without empty ones, such as those of unset variables
    if not named:
        raise UsageError("name the objects to remove, or a file of them with --uids-file")
    store = Store(dataset)
    plan = store.require_plan()
    if dry_run:
        doomed = find_doomed(store, plan, named)
        print(
            f"would remove {quantity(len(doomed.uids), 'object')}, {quantity(doomed.views, 'view')}, from "
            f"{quantity(doomed.shards, 'shard')}"
        )
        return
    config = configure(None, None, None, base=saved_settings(store), captions=False)
    remove_objects(config, dataset, named, reason, say, steal_lock=steal_lock)


@app.command()
def merge(
    datasets: Annotated[
        list[Any], typer.Argument(metavar="DIR", parser=place_of, help="Finished datasets, two or more.")
    ],
    out: Annotated[Any, typer.Option("--out", metavar="DIR", parser=place_of, help="A new folder.")],
    mixed_renderers: Annotated[
        bool, typer.Option("--mixed-renderers", help="They may be rendered by different versions.")
    ] = False,
    steal_lock: StealLock = False,
) -> None:
    """Join finished datasets of equal settings into one. Nothing is rendered, captioned or encoded again.

    Shards are hard-linked, or copied to another file system, and checked against their commits. What was
    made with other settings is refused with every setting that differs; sources may differ. An object that
    several datasets hold is kept once where all its rows are the same, and refused where they are not. The
    joined dataset is one like any other: it can grow, be captioned anew, and lose objects; the old ones stay
    as they are. The same command goes on after an interruption.

    Example: `mvcap merge chairs cups --out furniture`
    """
    from pipelines.merging import merge_datasets

    outcome = merge_datasets(datasets, out, say, mixed_renderers=mixed_renderers, steal_lock=steal_lock)
    leave_with(outcome, out)


@app.command()
def gc(
    dataset: Dataset,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    steal_lock: StealLock = False,
    as_json: AsJson = False,
) -> None:
    """Delete what killed runs and replaced shards left behind. Nothing that is committed is touched.

    These are unfinished files, shards that `verify` set aside, and rendered views that are captioned already.

    Example: `mvcap gc my_dataset --dry-run`
    """
    from pipelines.garbage import collect_garbage

    garbage = collect_garbage(dataset, say, delete=not dry_run, steal_lock=steal_lock)
    if as_json:
        print(json.dumps([item.to_json() for item in garbage], indent=1))
    else:
        for item in garbage:
            print(f"{item.file}: {quantity(item.bytes, 'byte')}, {item.what}")
    verb = "would free" if dry_run else "freed"
    freed = sum(item.bytes for item in garbage)
    say(f"{verb} {quantity(freed, 'byte')} in {quantity(len(garbage), 'file')}")
