"""Caption a sample of views without naming the category, so that the effect of guidance is a number."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final

from captions.prompts import UNGUIDED_PROMPT, is_guided
from mvcap.commits import CAPTION
from mvcap.config import ClipConfig, Config, settings_hash
from mvcap.errors import CorruptDatasetError, UsageError
from mvcap.places import Place
from mvcap.plan import Plan, stable_hash
from mvcap.records import CaptionedView, Key, Rejected, View
from mvcap.report.captions import ControlFigures
from mvcap.rows import view_from_row
from mvcap.storage import Store
from mvcap.tables import open_table
from pipelines import captioning
from pipelines.control_table import ControlKey, Pair, read_figures, read_key, write_pairs
from pipelines.finish import finish
from pipelines.measuring import captioned_objects
from pipelines.planning import refuse_changed_settings
from pipelines.surveying import survey

ADVICE: Final = "A control must be made by the captioner of the dataset: leave its settings as they are."

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """What a control showed."""

    figures: ControlFigures
    made: bool
    """Whether captions were written; otherwise an equal control stood there."""


def make_unguided_control(config: Config, root: Place, say: Callable[[str], None]) -> Control:
    """Caption a sample of a dataset's views without their categories and put the result on its card.

    The dataset's own captions stay as they are. The captioner runs in this process, with the dataset's
    settings. Which views are taken depends on the plan's seed and their names alone.

    Raises:
        UsageError: the dataset is not captioned to its end, or not with guidance, or with other settings.
        ModelUnavailableError: the captioner's model cannot be had.
    """
    store = Store(root)
    plan = store.require_plan()
    with store.lock(tell=say) as hold:
        settings = captioning.caption_settings(config)
        _require_guided_captions(store, plan, config, settings)
        key = ControlKey(settings_hash(settings), UNGUIDED_PROMPT, config.captions.control_views)
        missing = read_key(store) != key
        if missing:
            hold.announce()
            captioning.check_captioner(config)
            say(f"captioning up to {key.views} views with the prompt {UNGUIDED_PROMPT!r}")
            write_pairs(store, key, list(_caption_sample(config, store, plan, key.views)))
        finish(store, plan, survey(store, plan), config)
        figures = read_figures(store, plan)
    if figures is None:
        raise CorruptDatasetError(f"the control of {root} cannot be read back; run the command again")
    return Control(figures, missing)


def _require_guided_captions(store: Store, plan: Plan, config: Config, settings: Mapping[str, Any]) -> None:
    outcome = survey(store, plan)
    if not outcome.complete or outcome.uncaptioned or not outcome.views:
        raise UsageError(f"{store.root} has views without captions: run `mvcap caption {store.root}` first")
    refuse_changed_settings(store, plan, CAPTION, settings, advice=ADVICE)
    if not is_guided(config.captions.prompt):
        raise UsageError(
            f"the captions of {store.root} were written without guidance: there is nothing to compare with"
        )


def _caption_sample(config: Config, store: Store, plan: Plan, count: int) -> Iterator[Pair]:
    sample = _draw_sample(store, plan, count)
    unguided = config.captions.model_copy(update={"prompt": UNGUIDED_PROMPT, "clip": ClipConfig()})
    vocabulary = captioning.dataset_vocabulary(config, {item.category for item in store.read_objects()})
    with captioning.CaptionWorker(config.model_copy(update={"captions": unguided}), vocabulary) as worker:
        for record in worker(_read_views(store, plan, sample)):
            yield _pair(sample[record.key], record)


def _draw_sample(store: Store, plan: Plan, count: int) -> dict[Key, Row]:
    """Choose captioned views by the hash of their names; holds no more than `count` rows at a time."""
    rows = (row for _, views in captioned_objects(store, plan) for row in views)
    chosen = nsmallest(
        count, rows, key=lambda row: stable_hash(f"{plan.seed}:{row['uid']}:{row['view_index']}")
    )
    return {(row["uid"], row["view_index"]): row for row in chosen}


def _read_views(store: Store, plan: Plan, sample: Iterable[Key]) -> Iterator[View]:
    """Read the chosen views in the plan's order; of other objects, no picture is read."""
    wanted = set(sample)
    uids = {uid for uid, _ in wanted}
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        if uids.isdisjoint(shard.uids) or commit is None or commit.file is None:
            continue
        objects = {item.uid: item for item in store.read_objects(shard)}
        with open_table(store.root / commit.file) as file:
            for group in range(file.num_row_groups):
                if uids.isdisjoint(file.read_row_group(group, columns=["uid"])["uid"].to_pylist()):
                    continue
                for row in file.read_row_group(group).to_pylist():
                    if (row["uid"], row["view_index"]) in wanted:
                        yield view_from_row(row, objects[row["uid"]])


def _pair(row: Row, record: CaptionedView | Rejected) -> Pair:
    written = record if isinstance(record, CaptionedView) else None
    match = written.quality.category_match if written and written.quality else None
    return Pair(
        uid=row["uid"],
        view_index=row["view_index"],
        category=row["category"],
        guided=row["caption"],
        guided_match=row["category_match"],
        unguided=written.caption if written else None,
        unguided_match=match,
    )
