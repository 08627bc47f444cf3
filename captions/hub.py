"""Ask the Hugging Face hub for a model, and explain every way in which it may refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)

from mvcap.errors import ModelUnavailableError
from mvcap.hub import REQUEST_TIMEOUT_S, ask, what_went_wrong

Answer = TypeVar("Answer")

NEEDED_PATTERNS: Final = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""What is downloaded of a repository: never `pytorch_model*.bin`, which are pickles."""


def model_url(model: str, endpoint: str | None = None) -> str:
    """Return the page of a model; `endpoint` None means `HF_ENDPOINT`, else the public hub."""
    return f"{endpoint or constants.ENDPOINT}/{model}"


def cached_snapshot(model: str, revision: str | None) -> Path | None:
    """Return the folder of a snapshot in the hub's cache, complete or not, without any network."""
    config = try_to_load_from_cache(model, "config.json", revision=revision or constants.DEFAULT_REVISION)
    return Path(config).parent if isinstance(config, str) else None


def download_snapshot(model: str, revision: str | None) -> Path:
    """Fetch what is missing of a model into the hub's cache and return the snapshot's folder, whose
    name is the commit.

    Raises:
        ModelUnavailableError: the hub did not give it.
    """

    def request() -> str:
        return snapshot_download(
            model, revision=revision, allow_patterns=NEEDED_PATTERNS, etag_timeout=REQUEST_TIMEOUT_S
        )

    return Path(_ask(request, model, revision, None))


def list_accessible_files(model: str, revision: str | None, *, endpoint: str | None = None) -> list[str]:
    """List the files of a repository, having made sure that they may be read.

    Raises:
        ModelUnavailableError: the hub is unreachable, refuses access, limits the rate, or has no such
            model or revision.
    """

    def request() -> list[str]:
        info = HfApi(endpoint=endpoint).model_info(model, revision=revision, timeout=REQUEST_TIMEOUT_S)
        # Listing works for a gated model too: only reading a file shows whether its terms are accepted.
        config_url = hf_hub_url(model, "config.json", revision=info.sha, endpoint=endpoint)
        get_hf_file_metadata(config_url, timeout=REQUEST_TIMEOUT_S, endpoint=endpoint)
        return [file.rfilename for file in info.siblings or []]

    return _ask(request, model, revision, endpoint)


def _ask(request: Callable[[], Answer], model: str, revision: str | None, endpoint: str | None) -> Answer:
    """Send a request, waiting out short rate limits, and explain its failure."""
    return ask(request, lambda error: _unavailable(error, model, revision, endpoint))


def _unavailable(
    error: Exception, model: str, revision: str | None, endpoint: str | None
) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{what_went_wrong(error, f'the model {model_url(model, endpoint)}', revision)}\n"
        "To work without the hub, copy the model to a folder on a machine that has access,\n"
        f"    hf download {model} --local-dir FOLDER\n"
        "and add --set captions.options.model=FOLDER. `mvcap render` needs no captioner, and\n"
        "--set captions.options.model=tiny is a toy that ships with mvcap."
    )
