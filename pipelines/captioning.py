"""The caption stage: the captions room set up from the configuration, or left out."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from captions.prompts import is_guided
from captions.stage import caption_views
from captions.timed import TimedCaptioner
from mvcap import plugins
from mvcap.commits import CAPTION
from mvcap.config import Config, producing_settings, settings_hash
from mvcap.errors import ConfigError
from mvcap.records import CaptionedView, Rejected, View
from mvcap.schema import SCHEMA_VERSION
from pipelines.stages import Resources, Stage, Worker

UNCAPTIONED_SETTINGS: Final = {"backend": None}
UNCAPTIONED: Final = settings_hash(UNCAPTIONED_SETTINGS)
"""Settings of shards whose captions are null; any captioner may take them further."""


class CaptionWorker:
    """A `pipelines.stages.Worker` around a loaded captioner."""

    def __init__(self, config: Config) -> None:
        self._config = config
        backend = plugins.load("captions.backends", config.captions.backend)
        _limit_threads(config.captions.threads)
        self._captioner = TimedCaptioner(backend.create(config.captions.options))

    @property
    def made_by(self) -> Mapping[str, Any]:
        identity = self._captioner.identity
        name = f"{identity['backend']}:{identity['model']}"
        return {"name": name, "prompt": self._config.captions.prompt, **identity}

    @property
    def busy_s(self) -> float:
        return self._captioner.busy_s

    def __call__(self, records: Iterable[View]) -> Iterator[CaptionedView | Rejected]:
        captions = self._config.captions
        return caption_views(
            records,
            self._captioner,
            prompt_template=captions.prompt,
            batch_size=captions.batch_size,
            threads=captions.decoders,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._captioner.close()


class NoCaptions:
    """Passes views on, so that rendered shards become data with null captions."""

    made_by: Mapping[str, Any] = {}
    busy_s = None

    def __call__(self, records: Iterable[View]) -> Iterator[View]:
        return iter(records)


def _limit_threads(count: int) -> None:
    """Bound a captioner's CPU threads: renderers share the machine, and results stay the same anywhere."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def check_captioner(config: Config) -> None:
    """Make sure, without loading it, that the prompt is one and the captioner's model can be had.

    Raises:
        ConfigError: the prompt is empty or holds another placeholder than the category's.
        ModelUnavailableError: the model cannot be found or fetched.
    """
    try:
        is_guided(config.captions.prompt)
    except ValueError as error:
        raise ConfigError([f"captions.prompt: {error}"]) from error
    plugins.load("captions.backends", config.captions.backend).check(config.captions.options)


def caption_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides the captions."""
    return {"schema": SCHEMA_VERSION, **producing_settings(config.captions)}


def caption_stage(config: Config, settings: str) -> Stage[View, CaptionedView]:
    """Captioners take a GPU each where there are any, and otherwise share the CPUs with the renderers."""
    make_worker, workers = partial(CaptionWorker, config), config.run.caption_workers
    return Stage(CAPTION, settings, make_worker, Resources(cpus=0, prefers_gpu=True), workers=workers)


def uncaptioned_stage() -> Stage[View, View]:
    return Stage(CAPTION, UNCAPTIONED, _no_captions, Resources(cpus=0), workers=1)


def _no_captions() -> AbstractContextManager[Worker[View, View]]:
    return nullcontext(NoCaptions())
