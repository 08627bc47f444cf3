"""Gather what is known of a dataset and write the page that a person looks at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mvcap import files
from mvcap.commits import CAPTION, STAGES, Commit
from mvcap.config import Config
from mvcap.dataset import committed_dataset
from mvcap.errors import OutputError
from mvcap.places import Place
from mvcap.plan import Plan
from mvcap.report.captions import CaptionFigures, ControlFigures
from mvcap.report.card import describe_settings
from mvcap.report.page.choosing import choose
from mvcap.report.page.contents import collect
from mvcap.report.page.facts import Facts, Failure, StageFacts
from mvcap.report.page.index import index_page
from mvcap.report.titles import title_of
from mvcap.storage import Store
from pipelines.control_table import read_figures
from pipelines.measuring import measure_captions
from pipelines.surveying import Outcome, survey

SAMPLE: Final = 2_000
"""Views that the page lists unless told otherwise; about 3 MB of pictures."""


@dataclass(frozen=True, slots=True)
class Written:
    """A page, as it was written."""

    path: Place
    bytes: int
    listed: int
    pictured: int
    """Of the listed views, those with a picture."""
    views: int
    """Of the whole dataset."""


def report_dataset(config: Config, root: Place, out: Place | None, *, sample: int, seed: int) -> Written:
    """Write the page of a dataset, finished or not.

    Args:
        config: as the dataset recorded it.
        out: where to; None for the dataset's own place.
        sample: how many views are listed.
        seed: another one draws other views.

    Raises:
        OutputError: the folder holds no dataset, or the page cannot be written.
        CorruptDatasetError: what is on disk contradicts the commit records.
    """
    store = Store(root)
    plan = store.require_plan()
    return write_index(
        store,
        plan,
        config,
        survey(store, plan),
        figures=measure_captions(store, plan).figures,
        control=read_figures(store, plan),
        out=out,
        sample=sample,
        seed=seed,
    )


def write_index(
    store: Store,
    plan: Plan,
    config: Config,
    outcome: Outcome,
    *,
    figures: CaptionFigures | None,
    control: ControlFigures | None,
    out: Place | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> Written:
    """Write the page; what was measured before is not measured again."""
    dataset = committed_dataset(store, plan)
    contents = collect(dataset, choose(dataset.objects, views=sample, seed=seed))
    page = index_page(gather_facts(store, plan, config, outcome, figures, control), contents)
    path = out or store.page_path
    save_page(path, page)
    pictured = sum(contents.views[key].thumbnail is not None for key in contents.listed)
    return Written(path, len(page), len(contents.listed), pictured, outcome.views)


def save_page(path: Place, page: bytes) -> None:
    """Write a page where it was asked for.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        files.write_bytes(path, page)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name another file with --out") from error


def gather_facts(
    store: Store,
    plan: Plan,
    config: Config,
    outcome: Outcome,
    figures: CaptionFigures | None,
    control: ControlFigures | None,
) -> Facts:
    """Read what plan and commit records tell."""
    commits = [
        commit for shard in plan.shards for stage in STAGES if (commit := store.find_commit(stage, shard))
    ]
    return Facts(
        name=title_of(config.name, store.root),
        folder=str(store.root),
        objects=outcome.objects,
        done=outcome.done,
        views=outcome.views,
        uncaptioned=outcome.uncaptioned,
        shards=len(plan.shards),
        complete=outcome.complete,
        stages=list(_stages(commits)),
        failures=_failures(store, outcome),
        settings=describe_settings(store, plan, config),
        captioners=list(dict.fromkeys(map(_captioner, _captions(commits)))),
        captioner_note=outcome.captioner_note,
        figures=figures,
        control=control,
    )


def _captions(commits: list[Commit]) -> Iterator[Commit]:
    return (commit for commit in commits if commit.stage == CAPTION and not commit.uncaptioned)


def _captioner(commit: Commit) -> str:
    return str(commit.made_by.get("name", "unknown"))


def _stages(commits: list[Commit]) -> Iterator[StageFacts]:
    for stage in STAGES:
        own = [commit for commit in commits if commit.stage == stage and not commit.uncaptioned]
        if own:
            yield StageFacts(
                stage,
                shards=len(own),
                views=sum(commit.rows for commit in own),
                worker_seconds=sum(commit.seconds for commit in own),
            )


def _failures(store: Store, outcome: Outcome) -> list[Failure]:
    if not outcome.failures:
        return []
    failed = {rejected.uid for rejected in outcome.failures}
    objects = {item.uid: item for item in store.read_objects() if item.uid in failed}
    return [
        Failure(rejected, item.category if item else None, item.record.source_id if item else None)
        for rejected in outcome.failures
        for item in [objects.get(rejected.uid)]
    ]
