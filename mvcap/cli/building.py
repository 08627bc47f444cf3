"""The commands that make a dataset: `build-all`, `render`, `caption`."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from mvcap.cli.app import app
from mvcap.cli.configuring import (
    configure,
    configure_pictures,
    make_runner,
    picture_overrides,
    slice_of,
    slurm_part,
)
from mvcap.cli.estimates import print_plan
from mvcap.cli.options import (
    Address,
    Models,
    Out,
    Preset,
    Recipe,
    Resolution,
    RunnerName,
    Settings,
    Slice,
    StealLock,
    Views,
    path_of,
    place_of,
    say,
)
from mvcap.errors import UsageError
from mvcap.places import Place
from mvcap.quantities import quantity

PARTIAL: Final = 3
AGAIN: Final = "One picture made again"
"""A panel of the help."""


@app.command("build-all")
def build_all(
    out: Out = Path("mvcap-dataset"),
    models: Models = None,
    config: Recipe = None,
    views: Views = None,
    resolution: Resolution = None,
    preset: Preset = None,
    runner: RunnerName = "ray",
    address: Address = None,
    settings: Settings = None,
    steal_lock: StealLock = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done: see `mvcap plan`.")
    ] = False,
) -> None:
    """Render and caption every object of the configured sources into one dataset.

    Sources of pictures, such as mvimgnet or imagenet, may stand beside sources of 3D models: their pictures
    are taken as they are.

    The same command again goes on after an interruption, and does nothing once all is done.

    Example: `mvcap build-all --models my_models --out my_dataset --views 24 --resolution 384`

    `--set captions.options.model=NAME` names the captioner: a folder, a model of the hub, or `tiny`, a toy to
    try things out with. `mvcap render --help` lists settings of pictures that are often set.
    """
    from pipelines.todo import Request

    overrides = [*picture_overrides(views, resolution, preset), *(settings or [])]
    if dry_run:
        print_plan(config, models, overrides, out, as_json=False)
        raise typer.Exit(0)
    _build(configure(config, models, overrides), Request(out, steal_lock=steal_lock), runner, address)


@app.command()
def render(
    out: Out = Path("mvcap-dataset"),
    models: Models = None,
    config: Recipe = None,
    views: Views = None,
    resolution: Resolution = None,
    preset: Preset = None,
    shard: Slice = None,
    runner: RunnerName = "ray",
    address: Address = None,
    settings: Settings = None,
    steal_lock: StealLock = False,
    uid: Annotated[
        str | None,
        typer.Option("--uid", metavar="UID", help="Of which object of DIR.", rich_help_panel=AGAIN),
    ] = None,
    view: Annotated[
        int | None, typer.Option("--view", metavar="N", help="Its view index.", rich_help_panel=AGAIN)
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            parser=path_of,
            help="Where to write it: .png or .jpg.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
) -> None:
    """Render every object, seen from all over the upper hemisphere, into a dataset.

    Example: `mvcap render --models my_models --out my_dataset --views 24 --resolution 384`

    An object's **category** is the name of the sub-folder that its model lies in, or what a `labels.csv` in
    `my_models` says of it (columns `path,category,license,creator,source_url`; all but `path` optional).

    **What you get**: `datasets.load_dataset("my_dataset")`, a row for each view with image, category, camera
    and licence, its caption null until `mvcap caption my_dataset`; a page to look at, which is
    `my_dataset/report/index.html`; what failed and why in `my_dataset/failures.parquet` (exit code 3).
    The same command goes on after an interruption, and renders nothing twice.

    **Often set**, with `--set` each; `my_dataset/_mvcap/config.yaml` lists every setting:

    - `render.light=studio` or `objaverse`, the paper's

    - `render.background=#808080`; `render.backgrounds=FOLDER` of pictures instead; to keep the alpha,
    `render.image.format=png` and `render.image.keep_alpha=true`

    - `render.camera.law=hemisphere`, `angle`, `ring` or `hammersley`; `render.camera.distance_jitter=0.2`

    - `render.extras=[mask,depth,normals]`, stored beside each picture

    - `render.device=auto`, `cpu`, `optix`, `cuda`, `hip`, `metal` or `oneapi`

    - `run.render_workers=4` Blenders at once; one for each CPU otherwise

    With `--uid`, `--view` and `--save`, **one picture of a dataset is made again** from what the dataset
    recorded; the exit code is 0 if it has the stored bytes, 1 if not.

    Example: `mvcap render --out my_dataset --uid folder-chair-1a2b3c4d --view 17 --save again.png`
    """
    from pipelines.todo import Request

    if uid is not None or view is not None or save is not None:
        if uid is None or view is None or save is None:
            raise UsageError("to make one picture again, give all of --uid, --view and --save")
        pictures = {"views": views, "resolution": resolution, "preset": preset}
        idle = {"models": models, "config": config, "shard": shard, **pictures}
        if given := [f"--{name}" for name, value in idle.items() if value is not None]:
            raise UsageError(f"{', '.join(given)}: a picture is made again as the dataset recorded it")
        _reproduce(out, uid, view, save, settings)
    overrides = [*picture_overrides(views, resolution, preset), *(settings or [])]
    request = Request(out, caption=False, part=slice_of(shard), steal_lock=steal_lock)
    _build(configure(config, models, overrides, captions=False), request, runner, address)


@app.command()
def caption(
    dataset: Annotated[
        Any,
        typer.Argument(metavar="DIR", parser=place_of, help="A dataset that `mvcap render` made."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="FOLDER", parser=path_of, help="Or a folder of pictures, and --out."
        ),
    ] = None,
    out: Annotated[
        Any,
        typer.Option("--out", metavar="DIR", parser=place_of, help="The dataset that --images becomes."),
    ] = None,
    config: Recipe = None,
    shard: Slice = None,
    recaption: Annotated[
        bool, typer.Option("--recaption", help="Replace captions that were made with other settings.")
    ] = False,
    control: Annotated[
        str | None,
        typer.Option("--control", metavar="unguided", help="Measure what guidance does, on a sample."),
    ] = None,
    runner: RunnerName = "ray",
    address: Address = None,
    settings: Settings = None,
    steal_lock: StealLock = False,
) -> None:
    """Caption a dataset's views. Settings are the dataset's own unless given.

    Example: `mvcap caption my_dataset --shard 0/8 --set captions.options.model=/models/instructblip`

    With `--images` and `--out`: caption a folder of pictures into a dataset of its own. A table in it,
    `metadata.csv`, `.jsonl` or `.parquet`, gives each `file_name` its `category`; without one, the names
    of its sub-folders do.

    Example: `mvcap caption --images photos --out captioned --shard 0/8`

    In a SLURM array, the task is the slice unless `--shard` names one.

    With `--control unguided`: caption a sample without naming the category, in this process and apart from
    the dataset's captions, and put on the card how many name it with and without.

    Example: `mvcap caption my_dataset --control unguided --set captions.control_views=500`
    """
    from mvcap.storage import Store
    from pipelines.planning import saved_settings
    from pipelines.todo import Request

    if control is not None:
        beside = {"images": images, "out": out, "config": config, "shard": shard, "address": address}
        _require_control(control, recaption=recaption, **beside)
    if (dataset is None) == (images is None) or (images is None) != (out is None):
        raise UsageError("name the dataset to caption, or --images FOLDER together with --out DIR")
    if control and dataset:
        _control(configure(None, None, settings, base=saved_settings(Store(dataset))), dataset)
    part = slice_of(shard) if shard else slurm_part()
    if images and out:
        request = Request(out, recaption=recaption, part=part, steal_lock=steal_lock)
        configured = configure_pictures(config, images, settings)
    else:
        assert dataset
        base = None if config else saved_settings(Store(dataset))
        request = Request(dataset, render=False, recaption=recaption, part=part, steal_lock=steal_lock)
        configured = configure(config, None, settings, base=base)
    _build(configured, request, runner, address)


def _build(config: Any, request: Any, runner_name: str, address: str | None) -> NoReturn:
    """Run the pipeline and leave with its exit code."""
    from pipelines.build_all import build

    outcome = build(config, request, make_runner(runner_name, address, config), say)
    leave_with(outcome, request.out)


def leave_with(outcome: Any, out: Path) -> NoReturn:
    """Tell what a dataset holds now, and leave with the exit code that says so."""
    from mvcap.commits import STAGES

    objects = f"{outcome.done:,} of {quantity(outcome.objects, 'object')}"
    say(f"{quantity(outcome.views, 'view')} of {objects} in {out}")
    if outcome.uncaptioned:
        how = shlex.join(["mvcap", "caption", str(out)])
        say(f"no caption yet: {quantity(outcome.uncaptioned, 'view')}; `{how}` writes them")
    if not outcome.complete:
        how = shlex.join(["mvcap", "status", str(out)])
        say(f"not finished: shards of other slices are left; `{how}` tells more")
    if note := outcome.captioner_note:
        say(f"note: {note.origin} {note.worth}")
    for rejected in outcome.failures[:10]:
        where = rejected.uid if rejected.view_index is None else f"{rejected.uid} view {rejected.view_index}"
        say(f"failed: {where}: {rejected.reason}: {_headline(rejected.message)}")
    if len(outcome.failures) > 10:
        say(f"... and {len(outcome.failures) - 10} more in failures.parquet")
    if any(rejected.stage in STAGES for rejected in outcome.failures):
        say(f"try again  {shlex.join(['mvcap', 'retry', str(out), '--failed'])}")
    if outcome.complete:
        if outcome.uncaptioned < outcome.views:
            say(_sample_captions(out))
        say(
            f"look at    {out}/report/index.html  captions, objects to turn, figures, failures\n"
            f"           {out}/report/sheets/     a contact sheet of every shard\n"
            f"           {out}/README.md          the dataset card\n"
            f"load it    {_loading(out)}"
        )
    raise typer.Exit(PARTIAL if outcome.failures else 0)


def _loading(dataset: Place) -> str:
    """Say how `datasets` loads a dataset; of storage it is told each file's format and split."""
    if isinstance(dataset, Path):
        return f"datasets.load_dataset({str(dataset)!r})"
    return f"datasets.load_dataset('parquet', data_files={{'train': '{dataset}/data/train-*.parquet'}})"


def _sample_captions(dataset: Place) -> str:
    from mvcap.report.samples import describe_samples, read_samples
    from mvcap.storage import Store

    store = Store(dataset)
    return "some captions:\n" + describe_samples(read_samples(store, store.require_plan()))


def _headline(message: str) -> str:
    """Return the line that says most: the first, or the last of a traceback."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    return lines[-1] if "Traceback (most recent call last)" in message else lines[0]


def _reproduce(
    dataset: Place, uid: str, view_index: int, file: Path, overrides: list[str] | None
) -> NoReturn:
    """Make one picture again, and leave with 0 if it has the stored bytes, else with 1."""
    from mvcap.storage import Store
    from pipelines.planning import saved_settings
    from pipelines.reproducing import reproduce_view, save_picture

    config = configure(None, None, overrides, base=saved_settings(Store(dataset)), captions=False)
    reproduction = reproduce_view(config, dataset, uid, view_index)
    save_picture(reproduction.made, file)
    verdict = "equal to" if reproduction.equal else "NOT equal to"
    say(f"wrote {file}; as rendered, its bytes are {verdict} those stored in {dataset}")
    for change in reproduction.changes():
        say(f"note: {change}")
    raise typer.Exit(0 if reproduction.equal else 1)


def _require_control(name: str, **beside: object) -> None:
    """Refuse an unknown control, and options that would make it compare something else."""
    if name != "unguided":
        raise UsageError(f"unknown control {name!r} (valid: unguided)")
    if given := [f"--{option}" for option, value in beside.items() if value not in (None, False)]:
        raise UsageError(f"{', '.join(given)}: a control takes the whole dataset as it was captioned")


def _control(config: Any, dataset: Place) -> NoReturn:
    """Compare captions with and without guidance, and leave."""
    from pipelines.control import make_unguided_control

    figures = make_unguided_control(config, dataset, say).figures
    print(
        f"{figures.guided:.1%} of {quantity(figures.views, 'caption')} name their category with guidance, "
        f"{figures.unguided:.1%} without"
    )
    say(f"the card tells it too: {dataset}/README.md")
    raise typer.Exit(0)
