"""Write the page that shows two datasets, or two captionings of one, side by side."""

from dataclasses import dataclass

from mvcap.config import Config
from mvcap.dataset import Dataset, committed_dataset
from mvcap.errors import UsageError
from mvcap.places import Place
from mvcap.report.page.compare import compare_page
from mvcap.report.page.facts import Facts
from mvcap.report.page.pairs import collect_pairs
from mvcap.storage import Store
from pipelines.control_table import read_figures
from pipelines.measuring import measure_captions
from pipelines.reporting import gather_facts, save_page
from pipelines.surveying import survey


@dataclass(frozen=True, slots=True)
class Compared:
    """A page, as it was written."""

    bytes: int
    pairs: int
    same_views: bool
    """Whether a pair is one view in both datasets; otherwise two views of one category."""


def compare_datasets(
    first: tuple[Place, Config], second: tuple[Place, Config], out: Place, *, sample: int, seed: int
) -> Compared:
    """Write the page of two datasets, each given by its place and its recorded configuration.

    Args:
        sample: how many pairs of views are listed.
        seed: another one draws other views.

    Raises:
        OutputError: a folder holds no dataset, or the page cannot be written.
        UsageError: they share neither an object nor a category.
        CorruptDatasetError: what is on disk contradicts the commit records.
    """
    (facts, dataset), (other_facts, other) = (_open(*one) for one in (first, second))
    pairs = collect_pairs(dataset, other, views=sample, seed=seed)
    if not pairs.keys:
        raise UsageError(
            f"{first[0]} and {second[0]} share no object and no category: nothing can be compared"
        )
    page = compare_page(facts, other_facts, pairs)
    save_page(out, page)
    return Compared(len(page), len(pairs.keys), pairs.same_views)


def _open(root: Place, config: Config) -> tuple[Facts, Dataset]:
    store = Store(root)
    plan = store.require_plan()
    figures, control = measure_captions(store, plan).figures, read_figures(store, plan)
    facts = gather_facts(store, plan, config, survey(store, plan), figures, control)
    return facts, committed_dataset(store, plan)
