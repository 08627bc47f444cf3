"""The filter as a command and as the first stage of a build, which keeps its result with the dataset."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mvcap import files
from mvcap.config import Config, FilterConfig, settings_hash
from mvcap.errors import NothingSurvivedError, UsageError
from mvcap.records import SelectedObject
from mvcap.selected import SelectedRow, read_selection
from mvcap.sources import objaverse
from mvcap.storage import Store
from pipelines import filter_inputs
from pipelines.clip_views import embed_objects
from pipelines.filter import filter_objects
from pipelines.filter_tables import FilterFiles
from pipelines.planning import Listing, list_objects
from pipelines.stages import Runner
from pipelines.viewing import picture_sources

Say = Callable[[str], None]


def filter_to_files(config: Config, out: Path, runner: Runner, say: Say) -> dict[str, Any]:
    """Filter Objaverse by its embeddings into a Parquet file and what stands beside it; return the summary.

    Raises:
        UsageError: the configuration asks for something else, or what it names cannot be had.
        NothingSurvivedError: no object is selected.
    """
    section = config.filter or FilterConfig()
    if section.embeddings != "openshape":
        raise UsageError("`mvcap filter` reads embeddings; clip_views are a stage of `mvcap build-all`")
    if out.suffix != ".parquet" or out.is_dir():
        raise UsageError(f"--out={out} must be a Parquet file, such as chosen.parquet")
    files.require_writable(out.parent)
    inputs = filter_inputs.describe_inputs(section, filter_inputs.find_categories(config, section))
    return _survivors(FilterFiles(out).write(filter_objects(config, section, runner, say), inputs))


def list_clear_objects(config: Config, store: Store, runner: Runner, say: Say) -> Listing:
    """List the objects that the filter lets through; its result is kept, and used again by the next run.

    Raises:
        UsageError: what the filter needs cannot be had, no source has it, or the dataset is not in a folder.
        NothingSurvivedError: no object is selected.
    """
    section = config.filter
    assert section is not None
    folder = _kept_in(store)
    if section.embeddings == "openshape":
        _with_selection(config, folder)  # refuses sources that it cannot serve before any work
        kept = _filtered_once(config, section, store, runner, say)
        return list_objects(_with_selection(config, kept.selected))
    listing = list_objects(config)
    of_pictures = picture_sources(config)
    models = [item for item in listing.objects.values() if item.record.source not in of_pictures]
    if not models:
        raise UsageError("filter.embeddings=clip_views renders models, and the sources give pictures only")
    files.require_writable(store.root)
    file = embed_objects(config, section, models, folder, runner, say)
    kept = _filtered_once(config, section, store, runner, say, embeddings_file=file)
    return _recategorised(listing, models, read_selection(kept.selected))


def _filtered_once(
    config: Config,
    section: FilterConfig,
    store: Store,
    runner: Runner,
    say: Say,
    *,
    embeddings_file: Path | None = None,
) -> FilterFiles:
    """Return the files of the filter, made now or by an earlier run of the same inputs."""
    categories = filter_inputs.find_categories(config, section)
    inputs = filter_inputs.describe_inputs(section, categories)
    if embeddings_file:
        inputs["file"] = embeddings_file.stem
    kept = FilterFiles(_kept_in(store) / f"{settings_hash(inputs)}.parquet")
    summary = kept.read_summary()
    if summary is None:
        files.require_writable(store.root)
        filtered = filter_objects(config, section, runner, say, embeddings_file=embeddings_file)
        summary = kept.write(filtered, inputs)
        verdicts = ", ".join(f"{count} {name}" for name, count in summary["verdicts"].items())
        say(f"filter: {verdicts}; see {kept.summary}")
    _survivors(summary)
    return kept


def _kept_in(store: Store) -> Path:
    """Return where the filter's results lie, which are mapped into memory: a folder.

    Raises:
        UsageError: the dataset lies in storage.
    """
    folder = store.internal / "filter"
    if isinstance(folder, Path):
        return folder
    raise UsageError(
        f"{store.root}: a build that filters needs a folder; choose the objects first, with `mvcap filter "
        "--out chosen.parquet`, and give that file to the source objaverse as its `selection`"
    )


def _survivors(summary: dict[str, Any]) -> dict[str, Any]:
    verdicts: Mapping[str, int] = summary["verdicts"]
    if not verdicts["selected"]:
        counted = ", ".join(f"{count} x {name}" for name, count in verdicts.items() if count)
        raise NothingSurvivedError(f"the filter selects none of {summary['objects']} objects: {counted}")
    return summary


def _with_selection(config: Config, selection: Path) -> Config:
    """Point every Objaverse that has no selection of its own at a file."""
    sources = []
    for section in config.sources:
        if section.source == objaverse.SOURCE:
            options = filter_inputs.objaverse_options(config.model_copy(update={"sources": [section]}))
            if options.selection is None:
                section = section.model_copy(
                    update={"options": options.model_copy(update={"selection": selection})}
                )
        sources.append(section)
    if sources == config.sources:
        raise UsageError(
            "filter.embeddings=openshape needs the source objaverse, without a selection of its own; for "
            "models of other sources set filter.embeddings=clip_views"
        )
    return config.model_copy(update={"sources": sources})


def _recategorised(listing: Listing, models: Iterable[SelectedObject], rows: list[SelectedRow]) -> Listing:
    """Give models the categories that were found and drop those left out; pictures stay as they are."""
    objects = listing.objects | {
        row.source_id: replace(
            listing.objects[row.source_id], category=row.category, similarity=row.similarity
        )
        for row in rows
    }
    left_out = {item.uid for item in models} - {row.source_id for row in rows}
    return replace(listing, objects={uid: item for uid, item in objects.items() if uid not in left_out})
