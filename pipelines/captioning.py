"""The caption stage: the captions room set up from the configuration, or left out."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from captions.prompts import is_guided
from captions.scoring import Scorer, score_captions
from captions.stage import caption_views
from captions.timed import TimedCaptioner, TimedScorer, WorkingTime
from captions.vocabulary import Vocabulary, WordList, build_vocabulary, choose_words, name_words
from mvcap import plugins
from mvcap.commits import CAPTION, UNCAPTIONED
from mvcap.config import ClipConfig, Config, producing_settings
from mvcap.errors import ConfigError
from mvcap.records import CaptionedView, Rejected, View
from mvcap.schema import SCHEMA_VERSION
from pipelines.stages import Resources, Stage, Worker


class CaptionWorker:
    """A `pipelines.stages.Worker` around a loaded captioner."""

    def __init__(self, config: Config, vocabulary: Vocabulary | None) -> None:
        self._config = config
        self._vocabulary = vocabulary
        backend = plugins.load("captions.backends", config.captions.backend)
        self._working = WorkingTime()
        scorer = _load_scorer(config.captions.clip)
        self._scorer = TimedScorer(scorer, self._working) if scorer else None
        _limit_threads(config.captions.threads)
        self._captioner = TimedCaptioner(backend.create(config.captions.options), self._working)

    @property
    def made_by(self) -> Mapping[str, Any]:
        identity = self._captioner.identity
        name = f"{identity['backend']}:{identity['model']}"
        judged = {"vocabulary": self._vocabulary.identity} if self._vocabulary else {}
        scored = {"clip": self._scorer.identity} if self._scorer else {}
        return {"name": name, "prompt": self._config.captions.prompt, **identity, **judged, **scored}

    @property
    def busy_s(self) -> float:
        return self._working.seconds

    def __call__(self, records: Iterable[View]) -> Iterator[CaptionedView | Rejected]:
        captions = self._config.captions
        captioned = caption_views(
            records,
            self._captioner,
            prompt_template=captions.prompt,
            batch_size=captions.batch_size,
            threads=captions.decoders,
            vocabulary=self._vocabulary,
        )
        if self._scorer is None:
            return captioned
        return score_captions(captioned, self._scorer, batch_size=captions.batch_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._captioner.close()
        if self._scorer:
            self._scorer.close()


class NoCaptions:
    """Passes views on, so that rendered shards become data with null captions."""

    made_by: Mapping[str, Any] = {}
    busy_s = None

    def __call__(self, records: Iterable[View]) -> Iterator[View]:
        return iter(records)


def _load_scorer(clip: ClipConfig) -> Scorer | None:
    if clip.model is None:
        return None
    from captions.clip_score import load_clip  # imports torch, which other captioners do not need

    return load_clip(clip.model, clip.revision)


def _limit_threads(count: int) -> None:
    """Bound a captioner's CPU threads: renderers share the machine, and results stay the same anywhere."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def with_captioner_options(config: Config) -> Config:
    """Return a configuration whose captioner's options, if they are plain values yet, are read by its model.

    Raises:
        UnknownNameError: there is no such captioner.
        MissingExtraError: it needs an optional dependency.
        pydantic.ValidationError: it has no such option, or not with such a value.
    """
    captions = config.captions
    if isinstance(captions.options, BaseModel):
        return config
    options = plugins.options_model("captions.backends", captions.backend).model_validate(captions.options)
    return config.model_copy(update={"captions": captions.model_copy(update={"options": options})})


def check_captioner(config: Config) -> None:
    """Make sure, without loading them, that the prompt is one and the models can be had.

    Raises:
        ConfigError: the prompt is empty or holds another placeholder than the category's.
        ModelUnavailableError: a model cannot be found or fetched.
    """
    try:
        is_guided(config.captions.prompt)
    except ValueError as error:
        raise ConfigError([f"captions.prompt: {error}"]) from error
    plugins.load("captions.backends", config.captions.backend).check(config.captions.options)
    if config.captions.clip.model is not None:
        from captions.clip_score import check_clip

        check_clip(config.captions.clip.model, config.captions.clip.revision)


def caption_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides the captions, and what their quality columns say.

    Raises:
        UsageError: WordNet is wanted and not installed.
    """
    words = name_words(*_words(config))
    return {"schema": SCHEMA_VERSION, **producing_settings(config.captions), "synonyms": words}


def dataset_vocabulary(config: Config, categories: Iterable[str]) -> Vocabulary:
    """Collect how captions may name a dataset's categories; done by the driver, for all workers alike.

    Args:
        categories: of the whole plan, never of a shard alone.
    """
    return build_vocabulary(categories, *_words(config))


def _words(config: Config) -> tuple[WordList, Path]:
    folder = Path(config.captions.wordnet).expanduser()
    return choose_words(config.captions.synonyms, folder), folder


def caption_stage(
    config: Config, settings: str, vocabulary: Vocabulary | None = None
) -> Stage[View, CaptionedView]:
    """Captioners take a GPU each where there are any, and otherwise share the CPUs with the renderers.

    Args:
        vocabulary: see `captions.stage.caption_views`.
    """
    make_worker, workers = partial(CaptionWorker, config, vocabulary), config.run.caption_workers
    resources = Resources(cpus=0, prefers_gpu=True).changed_by(config.run.caption_resources)
    return Stage(CAPTION, settings, make_worker, resources, workers=workers)


def uncaptioned_stage() -> Stage[View, View]:
    return Stage(CAPTION, UNCAPTIONED, _no_captions, Resources(cpus=0), workers=1)


def _no_captions() -> AbstractContextManager[Worker[View, View]]:
    return nullcontext(NoCaptions())
