"""Models that come over a network are fetched by the worker that renders them, some ahead of the renderer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from captions.ahead import map_ahead
from mvcap import plugins
from mvcap.config import Config
from mvcap.errors import HUB, FetchError
from mvcap.records import Rejected, SelectedObject

STAGE: Final = "fetch"
"""What failures say."""


class Fetcher(Protocol):
    """Puts a source's models where their records say they are; `fetch` is called by several threads."""

    def check(self, missing: Sequence[SelectedObject]) -> None:
        """Find out, before anything is rendered, whether these models can be had, and raise if not."""

    def fetch(self, item: SelectedObject) -> None:
        """Put an object's model in its place; whoever asks for the same one waits.

        Raises:
            FetchError: this one cannot be had; the run goes on.
            MvcapError: none can; the run ends, and goes on from here later.
        """


def open_fetchers(config: Config) -> dict[str, Fetcher]:
    """Return what fetches models, by the names of the sources that need it."""
    fetchers: dict[str, Fetcher] = {}
    for section in config.sources:
        source = plugins.load("mvcap.sources", section.source)
        if hasattr(source, "open_fetcher"):
            fetchers[section.source] = source.open_fetcher(section.options)
    return fetchers


def check_fetchers(config: Config, objects: Iterable[SelectedObject]) -> None:
    """Find out before a run whether the models that are not there can be had, and whether they fit.

    Raises:
        MvcapError: they cannot.
    """
    fetchers = open_fetchers(config)
    missing: dict[str, list[SelectedObject]] = {source: [] for source in fetchers}
    for item in objects:
        if item.record.source in fetchers and not _is_there(item):
            missing[item.record.source].append(item)
    for source, items in missing.items():
        fetchers[source].check(items)


def fetch_ahead(
    objects: Iterable[SelectedObject], fetchers: Mapping[str, Fetcher], *, threads: int
) -> Iterator[SelectedObject | Rejected]:
    """Yield every object, in order, once its model is there, or a `Rejected` where it cannot be had.

    At most two models for each thread are ahead of the one that was yielded last.

    Raises:
        MvcapError: no model can be had any more.
    """
    if not fetchers:
        return iter(objects)
    return map_ahead(partial(_fetched, fetchers), objects, threads=threads, limit=2 * threads)


def _fetched(fetchers: Mapping[str, Fetcher], item: SelectedObject) -> SelectedObject | Rejected:
    fetcher = fetchers.get(item.record.source)
    if fetcher is None or _is_there(item):
        return item
    try:
        fetcher.fetch(item)
    except FetchError as error:
        return Rejected(item.uid, STAGE, HUB, str(error))
    return item


def _is_there(item: SelectedObject) -> bool:
    return Path(item.record.asset).exists()
