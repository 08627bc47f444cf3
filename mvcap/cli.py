"""The command line: parse, make a configuration, hand over to `pipelines`.

stdout is data, stderr is progress. Exit codes: 0 done, 1 error, 2 wrong usage or set-up, 3 some objects
failed, 130/143 ended by a signal. Heavy imports stand inside the commands, so that `--help` is quick.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from mvcap import __version__
from mvcap.errors import MvcapError, UsageError
from mvcap.signals import Stopped, listen
from mvcap.slices import parse_slice, slurm_slice
from mvcap.streams import forgive_readers_that_leave

app = typer.Typer(
    name="mvcap",
    help="Build captioned multi-view datasets from 3D objects.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PARTIAL = 3
PICTURES, AGAIN = "Pictures", "One picture made again"
"""Panels of the help."""
PICTURES_PER_SHARD = 512
"""Of a folder of pictures, most of which stand for themselves: as much work as some objects' views."""


def _path(text: str | Path) -> Path:
    """Refuse an empty path, such as that of an unset variable: `Path` takes it for the present folder."""
    if not str(text):
        raise typer.BadParameter("the path is empty; `.` is the present folder")
    return Path(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FOLDER",
        parser=_path,
        help="Your 3D models: glb, gltf, obj, fbx, stl, ply, usd; nested as you like.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", parser=_path, help="The dataset's folder.")]
Recipe = Annotated[
    str | None,
    typer.Option("--config", metavar="NAME_OR_FILE", help="A recipe, such as demo, or a YAML file."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting; may be repeated.")
]
RunnerName = Annotated[
    str,
    typer.Option(
        "--runner", metavar="ray|local", help="Where the stages run: Ray, or threads of this process."
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="An existing Ray cluster: auto or HOST:PORT."),
]
Slice = Annotated[
    str | None, typer.Option("--shard", metavar="K/N", help="Only slice K of N, 0 <= K < N, of the shards.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("build-all")
def build_all(
    out: Out = Path("mvcap-dataset"),
    models: Models = None,
    config: Recipe = None,
    runner: RunnerName = "ray",
    address: Address = None,
    settings: Settings = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done: see `mvcap plan`.")
    ] = False,
) -> None:
    """Render and caption every object of the configured sources into one dataset.

    Sources of pictures, such as mvimgnet or imagenet, may stand beside sources of 3D models: their pictures
    are taken as they are.

    The same command again goes on after an interruption, and does nothing once all is done.

    Example: `mvcap build-all --models my_models --out my_dataset --set render.views=12`
    """
    from pipelines.build_all import Request

    if dry_run:
        _plan(config, models, settings, out, as_json=False)
        raise typer.Exit(0)
    _build(_configure(config, models, settings), Request(out), runner, address)


@app.command("filter")
def filter_(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", parser=_path, help="The Parquet file to write.")
    ],
    embeddings: Annotated[
        Path | None,
        typer.Option("--embeddings", metavar="FILE", parser=_path, help="OpenShape's; fetched if not given."),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option("--categories", metavar="lvis|imagenet|FILE", help="Names, one a line in a file."),
    ] = None,
    category_vectors: Annotated[
        Path | None,
        typer.Option("--category-vectors", metavar="FILE", parser=_path, help="A .npy or .safetensors file."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", help="So many objects, the most similar.")
    ] = None,
    config: Recipe = None,
    runner: RunnerName = "local",
    address: Address = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Choose the objects of Objaverse that are clearly of one category, by OpenShape's embeddings.

    Beside FILE stand FILE's name with `.left-out.parquet`, every other object with its reason, and with
    `.json`, the counts. The `objaverse` source takes FILE as its option `selection`.

    Example: `mvcap filter --keep 24495 --out chosen.parquet`

    Example: `mvcap filter --embeddings objaverse.pt --category-vectors lvis.npy --out chosen.parquet`
    """
    from pipelines.filter_tables import describe
    from pipelines.filtering import filter_to_files

    given = {"file": embeddings, "categories": categories, "category_vectors": category_vectors, "keep": keep}
    flags = [f"filter.{name}={json.dumps(str(value))}" for name, value in given.items() if value is not None]
    configured = _configure(config, None, [*flags, *(settings or [])], captions=False)
    summary = filter_to_files(configured, out, _runner(runner, address, configured), _say)
    print(json.dumps(summary, indent=1) if as_json else describe(summary))


@app.command()
def plan(
    config: Recipe = None,
    models: Models = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", parser=_path, help="The dataset: its own speed, what it has."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where anything is missing on this machine.")
    ] = False,
) -> None:
    """Print what a recipe takes: objects, views, bytes, CPU and GPU hours, and what is missing here.

    Nothing is fetched, rendered or written, and no network is needed. Rates are measured ones, and each says
    where; a dataset that was built with the same settings, given by `--out`, tells its own.

    Example: `mvcap plan --config mvcap-4m --set render.preset=fast`
    """
    complete = _plan(config, models, settings, out, as_json=as_json)
    raise typer.Exit(0 if complete or not strict else 1)


@app.command()
def render(
    out: Out = Path("mvcap-dataset"),
    models: Models = None,
    config: Recipe = None,
    views: Annotated[
        int | None,
        typer.Option("--views", metavar="N", help="Pictures of each object (100).", rich_help_panel=PICTURES),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", metavar="PX", help="Width and height (512).", rich_help_panel=PICTURES),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="fast: a hard sun and painted light, for large datasets; physical: soft shadows, all light "
            "traced; reference: the same with most samples (physical).",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    shard: Slice = None,
    runner: RunnerName = "ray",
    address: Address = None,
    settings: Settings = None,
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
            parser=_path,
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
    and licence, its caption null until `mvcap caption my_dataset`; contact sheets to look at in
    `my_dataset/report/sheets/`; what failed and why in `my_dataset/failures.parquet` (exit code 3). After an
    interruption the same command goes on, and renders nothing twice.

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
    from pipelines.build_all import Request

    flags = {"views": views, "resolution": resolution, "preset": preset}
    if uid is not None or view is not None or save is not None:
        if uid is None or view is None or save is None:
            raise UsageError("to make one picture again, give all of --uid, --view and --save")
        idle = {"models": models, "config": config, "shard": shard, **flags}
        if given := [f"--{name}" for name, value in idle.items() if value is not None]:
            raise UsageError(f"{', '.join(given)}: a picture is made again as the dataset recorded it")
        _reproduce(out, uid, view, save, settings)
    overrides = [f"render.{name}={value}" for name, value in flags.items() if value is not None]
    request = Request(out, caption=False, part=_part(shard))
    _build(
        _configure(config, models, [*overrides, *(settings or [])], captions=False), request, runner, address
    )


@app.command()
def caption(
    dataset: Annotated[
        Path | None, typer.Argument(metavar="DIR", parser=_path, help="A dataset that `mvcap render` made.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", parser=_path, help="Or a folder of pictures, and --out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", parser=_path, help="The dataset that --images becomes."),
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
    from pipelines.build_all import Request
    from pipelines.planning import saved_settings

    if control is not None:
        beside = {"images": images, "out": out, "config": config, "shard": shard, "address": address}
        _require_control(control, recaption=recaption, **beside)
    if (dataset is None) == (images is None) or (images is None) != (out is None):
        raise UsageError("name the dataset to caption, or --images FOLDER together with --out DIR")
    if control and dataset:
        _control(_configure(None, None, settings, base=saved_settings(Store(dataset))), dataset)
    part = _part(shard) if shard else _slurm_part()
    if images and out:
        request = Request(out, recaption=recaption, part=part)
        configured = _configure_pictures(config, images, settings)
    else:
        assert dataset
        base = None if config else saved_settings(Store(dataset))
        request = Request(dataset, render=False, recaption=recaption, part=part)
        configured = _configure(config, None, settings, base=base)
    _build(configured, request, runner, address)


@app.command()
def export(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", parser=_path, help="A finished dataset.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", parser=_path, help="A new folder.")],
    format_name: Annotated[str, typer.Option("--format", metavar="NAME", help="The layout: mvcap-json.")],
    settings: Settings = None,
) -> None:
    """Write a dataset in another layout. `mvcap-json` is the one in which MVCap was published.

    Example: `mvcap export my_dataset --format mvcap-json --out my_mvcap --set split=train`
    """
    from pipelines.exporting import export_dataset

    views = export_dataset(dataset, format_name, out, settings or [])
    _say(f"wrote {views} views to {out}")


@app.command()
def verify(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", parser=_path, help="The dataset.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a dataset. Broken shards are set aside, and the next run makes them anew.

    Example: `mvcap verify my_dataset`
    """
    from mvcap.verify import verify_dataset

    problems = verify_dataset(dataset, mark=not dry_run)
    if as_json:
        print(
            json.dumps([{"file": problem.file, "message": problem.message} for problem in problems], indent=1)
        )
    else:
        for problem in problems:
            print(f"{problem.file}: {problem.message}")
    _say(f"{len(problems)} problems" if problems else f"{dataset} is whole")
    raise typer.Exit(1 if problems else 0)


@app.command()
def status(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", parser=_path, help="The dataset.")],
    as_json: AsJson = False,
) -> None:
    """Show how far a dataset is, and what failed.

    Example: `mvcap status my_dataset --json`
    """
    from pipelines.status import dataset_status, describe

    state = dataset_status(dataset)
    print(json.dumps(state, indent=1) if as_json else describe(state))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: Python, Blender, Ray, memory, disk; each finding with its remedy.

    Example: `mvcap doctor`
    """
    from pipelines.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(finding)
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


# --- shared by the commands ------------------------------------------------------------------------


def _configure(
    recipe: str | None,
    models: Path | None,
    overrides: list[str] | None,
    *,
    base: dict[str, Any] | None = None,
    captions: bool = True,
) -> Any:
    from mvcap.plugins import options_model
    from mvcap.recipes import apply_overrides, build_config, read_recipe

    settings = base if base is not None else read_recipe(recipe) if recipe else {}
    if models:
        settings = settings | {"sources": [{"source": "folder", "options": {"path": str(models)}}]}
    return build_config(apply_overrides(settings, overrides or []), options_model, captions=captions)


def _plan(
    recipe: str | None,
    models: Path | None,
    overrides: list[str] | None,
    out: Path | None,
    *,
    as_json: bool,
) -> bool:
    """Print a plan; return whether everything that it needs is on this machine."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: what is not here is missing
    from mvcap.storage import Store
    from pipelines.estimating import estimate
    from pipelines.missing import find_missing
    from pipelines.plan_report import describe_plan

    config = _configure(recipe, models, overrides, captions=False)
    estimated = estimate(config, Store(out) if out else None)
    findings = list(find_missing(config, estimated, out or Path.cwd()))
    if as_json:
        missing = [finding.to_json() for finding in findings]
        print(json.dumps({**estimated.to_json(), "machine": missing}, indent=1))
    else:
        print(describe_plan(estimated, findings))
    return all(finding.fine for finding in findings)


def _configure_pictures(recipe: str | None, folder: Path, overrides: list[str] | None) -> Any:
    """Configure a folder of pictures as the source; what the recipe says of the plan is kept."""
    from mvcap.recipes import read_recipe

    settings = read_recipe(recipe) if recipe else {}
    plan = {"objects_per_shard": PICTURES_PER_SHARD, "splits": {"train": 1.0}} | settings.get("plan", {})
    sources = [{"source": "images", "options": {"path": str(folder)}}]
    return _configure(None, None, overrides, base=settings | {"plan": plan, "sources": sources})


def _build(config: Any, request: Any, runner_name: str, address: str | None) -> NoReturn:
    """Run the pipeline and leave with its exit code."""
    from pipelines.build_all import build

    outcome = build(config, request, _runner(runner_name, address, config), _say)
    _say(f"{outcome.views} views of {outcome.done} of {outcome.objects} objects in {request.out}")
    if outcome.untrained_captions:
        _say(
            "note: the captions come from an UNTRAINED model; they show the pipeline at work and mean nothing"
        )
    for rejected in outcome.failures[:10]:
        where = rejected.uid if rejected.view_index is None else f"{rejected.uid} view {rejected.view_index}"
        _say(f"failed: {where}: {rejected.reason}: {_headline(rejected.message)}")
    if len(outcome.failures) > 10:
        _say(f"... and {len(outcome.failures) - 10} more in failures.parquet")
    if outcome.complete:
        if outcome.uncaptioned < outcome.views:
            _say(_sample_captions(request.out))
        _say(
            f"look at  {request.out}/report/sheets/  a contact sheet of every shard\n"
            f"         {request.out}/report/samples.png  captions under their pictures\n"
            f"         {request.out}/README.md       the dataset card\n"
            f"load it  datasets.load_dataset({str(request.out)!r})"
        )
    raise typer.Exit(PARTIAL if outcome.failures else 0)


def _sample_captions(dataset: Path) -> str:
    from mvcap.report.samples import describe_samples, read_samples
    from mvcap.storage import Store

    store = Store(dataset)
    return "some captions:\n" + describe_samples(read_samples(store, store.require_plan()))


def _reproduce(dataset: Path, uid: str, view_index: int, file: Path, overrides: list[str] | None) -> NoReturn:
    """Make one picture again, and leave with 0 if it has the stored bytes, else with 1."""
    from mvcap.storage import Store
    from pipelines.planning import saved_settings
    from pipelines.reproducing import reproduce_view, save_picture

    config = _configure(None, None, overrides, base=saved_settings(Store(dataset)), captions=False)
    reproduction = reproduce_view(config, dataset, uid, view_index)
    save_picture(reproduction.made, file)
    verdict = "equal to" if reproduction.equal else "NOT equal to"
    _say(f"wrote {file}; as rendered, its bytes are {verdict} those stored in {dataset}")
    for change in reproduction.changes():
        _say(f"note: {change}")
    raise typer.Exit(0 if reproduction.equal else 1)


def _require_control(name: str, **beside: object) -> None:
    """Refuse an unknown control, and options that would make it compare something else."""
    if name != "unguided":
        raise UsageError(f"unknown control {name!r} (valid: unguided)")
    if given := [f"--{option}" for option, value in beside.items() if value not in (None, False)]:
        raise UsageError(f"{', '.join(given)}: a control takes the whole dataset as it was captioned")


def _control(config: Any, dataset: Path) -> NoReturn:
    """Compare captions with and without guidance, and leave."""
    from pipelines.control import make_unguided_control

    figures = make_unguided_control(config, dataset, _say).figures
    print(
        f"{figures.guided:.1%} of {figures.views} captions name their category with guidance, "
        f"{figures.unguided:.1%} without"
    )
    _say(f"the card tells it too: {dataset}/README.md")
    raise typer.Exit(0)


def _runner(name: str, address: str | None, config: Any) -> Any:
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


def _part(text: str | None) -> tuple[int, int] | None:
    return None if text is None else parse_slice(text)


def _slurm_part() -> tuple[int, int] | None:
    """Take the slice from a SLURM array, and say so."""
    if part := slurm_slice(os.environ):
        _say(f"slice {part[0]}/{part[1]}, from the SLURM array; --shard would win")
    return part


def _headline(message: str) -> str:
    """Return the line that says most: the first, or the last of a traceback."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    return lines[-1] if "Traceback (most recent call last)" in message else lines[0]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> NoReturn:
    """Run the command line; every way out has its exit code."""
    listen()
    forgive_readers_that_leave()
    try:
        app(standalone_mode=True)
    except MvcapError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False
        )
        code = error.exit_code
    except Stopped as stopped:
        _say("stopped; the same command goes on from here")
        code = 128 + stopped.number
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that still work on a shard must not hold the process
