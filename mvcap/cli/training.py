"""The commands that tune a model and measure what came of it: `train`, `eval`, `export-model`."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from mvcap.cli.app import app
from mvcap.cli.options import Address, AsJson, Settings, path_of, say
from mvcap.errors import UsageError
from mvcap.quantities import quantity

DATASET: Final = "mvcap-dataset"
"""What a build writes where nothing else is named."""
TEST: Final = "test"
"""The split that is evaluated unless another is named."""
Data = Annotated[
    Path,
    typer.Option(
        "--data", metavar="DIR", parser=path_of, help="A finished dataset, as `build-all` makes it."
    ),
]
TrainingRecipe = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME_OR_FILE",
        help="A recipe: ovt, ovt-paper, ovt-official, demo; or a YAML file.",
    ),
]


@app.command()
def train(
    data: Data = Path(DATASET),
    config: TrainingRecipe = "ovt",
    out: Annotated[
        Path, typer.Option("--out", metavar="RUN", parser=path_of, help="The run's folder.")
    ] = Path("mvcap-run"),
    clean: Annotated[
        Path | None,
        typer.Option(
            "--clean",
            metavar="DIR",
            parser=path_of,
            help="Pictures of the original kind to mix in, such as ImageNet: a dataset, tars, or a folder "
            "for each class.",
        ),
    ] = None,
    resume: Annotated[
        Literal["auto", "never"],
        typer.Option("--resume", metavar="auto|never", help="Go on with a run that is there, or refuse it."),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Train in so many processes of Ray Train, with a GPU each where there are any.",
        ),
    ] = None,
    address: Address = None,
    settings: Settings = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print parameters, steps, memory and time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tune a CLIP or BLIP on a dataset's views, so that it knows objects from any side (Omniview-Tuning).

    The same command again goes on after an interruption, to the last bit. Several processes: `--workers 8`,
    on a cluster with `--address`, or `torchrun --nproc-per-node 8 --no-python mvcap train` and its options.

    Example: `mvcap train --data my_dataset --clean imagenet/train --out my_run --config ovt`

    Example: `mvcap train --data my_dataset --config ovt-paper --dry-run --json`
    """
    from training.recipes import read_config

    overrides = [*([f"clean.path={json.dumps(str(clean.expanduser().absolute()))}"] if clean else [])]
    configured = read_config(config, [*overrides, *(settings or [])])
    if dry_run:
        from training.estimating import describe, plan_run

        plan = plan_run(configured, data)
        print(json.dumps(plan, indent=1) if as_json else describe(plan))
        return
    if workers is not None or address is not None:
        summary = _train_on_ray(configured, data, out, workers or 1, address, resume)
    else:
        from training.runs import run_training

        summary = run_training(configured, data, out, resume=resume, say=say)
    if summary and as_json:
        print(json.dumps(summary, indent=1))
    elif summary:
        print(f"{out}: {quantity(summary['steps'], 'step')}, loss {summary.get('loss', float('nan')):.4f}")
        say(_next_step(out, data))


def _next_step(run: Path, data: Path) -> str:
    """Name the command that measures a run, and how many objects there are that it has not seen."""
    from mvcap.config import TRAINING
    from mvcap.storage import Store

    words = ["mvcap", "eval", str(run), "--data", str(data)]
    store = Store(data)
    category_of = {item.uid: item.category for item in store.read_objects()}
    categories: dict[str, list[str]] = {}
    for shard in store.require_plan().shards:
        categories.setdefault(shard.split, []).extend(
            category_of[uid] for uid in shard.uids if uid in category_of
        )
    unseen = {split: len(of) for split, of in categories.items() if split != TRAINING and len({*of}) > 1}
    if not unseen:
        command = shlex.join([*words, "--split", TRAINING])
        return (
            f"next: {command}; {data} keeps no two categories for a test, so that other data will tell more"
        )
    split = TEST if TEST in unseen else max(unseen, key=lambda name: unseen[name])
    command = shlex.join([*words, *(() if split == TEST else ("--split", split))])
    return f"next: {command}; {quantity(unseen[split], 'object')} that it has not seen"


def _train_on_ray(
    config: Any, data: Path, out: Path, workers: int, address: str | None, resume: str
) -> Mapping[str, Any]:
    from pipelines.runners.ray_environment import prepare

    found = prepare(address)  # before Ray is imported
    from pipelines.runners.ray_training import train_on_ray

    return train_on_ray(config, data, out, workers=workers, address=found, resume=resume, say=say)


@app.command("eval")
def eval_(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", parser=path_of, help="A run of `mvcap train`; without one, --config's own model."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="[NAME=]DIR",
            help="A dataset, webdataset tars, or a folder for each class; may be repeated.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Of datasets of ours: the objects to look at.")
    ] = TEST,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", parser=path_of, help="Class names, for other layouts."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME_OR_FILE",
            help="Sets in groups, with averages: ovt, the paper's, each found by --data NAME=DIR; or a YAML "
            "file.",
        ),
    ] = None,
    templates: Annotated[
        Literal["openai", "plain"],
        typer.Option(
            "--templates",
            metavar="openai|plain",
            help="CLIP's 80 sentences for each class, or `a photo of a NAME`.",
        ),
    ] = "openai",
    base: Annotated[
        bool, typer.Option("--base/--no-base", help="Evaluate the pretrained model of RUN as well.")
    ] = True,
    interpolate: Annotated[
        float, typer.Option("--interpolate", metavar="SHARE", help="As in `mvcap export-model`.")
    ] = 1.0,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="NAME_OR_FILE", help="Without RUN: the recipe whose model to take."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=path_of,
            help="Where results go, beside those of other sets; RUN/eval if not given.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Pictures encoded at once.")] = 64,
    loaders: Annotated[
        int, typer.Option("--loaders", metavar="N", min=0, help="Processes that decode pictures.")
    ] = 2,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(
            "--device", metavar="auto|cpu|cuda", help="Where the model runs; a GPU if there is one."
        ),
    ] = "auto",
    adversarial_views: Annotated[
        bool,
        typer.Option(
            "--adversarial-views",
            help="Search by rendering, instead, the viewpoints of a dataset's objects from which the model "
            "fails most.",
        ),
    ] = False,
    objects: Annotated[
        int,
        typer.Option("--objects", metavar="N", min=1, help="Of a dataset, searched by --adversarial-views."),
    ] = 20,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model zero-shot: top-1 and top-5, by viewing angle, from the worst view, against its base.

    The classes are those of the set, and their number stands beside each figure. Intervals are of 95 %, with
    objects as the independent units. DIR gets `results.json`, a Parquet row for each picture, and a heat map
    of accuracy by azimuth and elevation for datasets that know their cameras; what it holds of other sets
    stays there.

    Example: `mvcap eval my_run --data my_dataset --data imagenet=imagenet/val`

    Example: `mvcap eval my_run --suite ovt --data imagenet-1k=imagenet/val --data miro=miro`

    Example: `mvcap eval my_run --adversarial-views --data my_dataset --objects 50`

    Example: `mvcap eval --config ovt --set model.options.model=ViT-L-14 --data my_dataset`
    """
    from training.evaluation.running import Model

    model = Model(run, config, tuple(settings or ()), interpolate)
    place = out or (run / "eval" if run else Path("mvcap-eval"))
    how = {"split": split, "templates": templates, "with_base": base, "device": device, "say": say}
    if adversarial_views:
        if suite:
            raise UsageError("--suite: bad viewpoints are searched of datasets of ours, by --data")
        report, told = _search_views(model, data or [DATASET], place, objects=objects, **how)
    else:
        how |= {"names": names, "suite": suite, "batch": batch, "loaders": loaders}
        report, told = _evaluate(model, data or ([] if suite else [DATASET]), place, **how)
    print(json.dumps(report, indent=1) if as_json else told)


def _search_views(model: Any, data: list[str], out: Path, **how: Any) -> tuple[Mapping[str, Any], str]:
    """Search for bad viewpoints; return what was found, and what to say of it."""
    from pipelines.adversarial_views import describe_all, search_all

    found = search_all(model, data, out, **how)
    return found, describe_all(found)


def _evaluate(model: Any, data: list[str], out: Path, **how: Any) -> tuple[Mapping[str, Any], str]:
    """Evaluate on sets as they are; return the report, and what to say of it."""
    from training.evaluation.reporting import describe
    from training.evaluation.running import run_evaluation

    report = run_evaluation(model, data, out, **how)
    return report, describe(report)


@app.command("export-model")
def export_model(
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=path_of, help="A run of `mvcap train`.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", parser=path_of, help="A new folder.")],
    layout: Annotated[
        Literal["open_clip", "transformers", "peft", "llava"],
        typer.Option("--format", metavar="LAYOUT", help="For whom: open_clip, transformers, peft or llava."),
    ] = "open_clip",
    interpolate: Annotated[
        float,
        typer.Option(
            "--interpolate",
            metavar="SHARE",
            help="Share of the tuned weights in a mean with the pretrained ones (WiSE-FT): 1 is all tuned.",
        ),
    ] = 1.0,
) -> None:
    """Write a tuned model for open_clip, transformers, PEFT or LLaVA; VIFormer goes beside it.

    Example: `mvcap export-model my_run --format open_clip --interpolate 0.7 --out my_clip`
    """
    from training.export import export_model as write

    write(run, out, layout, interpolate=interpolate)
    say(f"wrote {layout} to {out}")
