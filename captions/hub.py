"""Ask the Hugging Face hub for a model, and explain every way in which it may refuse."""

import time
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
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mvcap.errors import ModelUnavailableError

Answer = TypeVar("Answer")

NEEDED_PATTERNS: Final = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""What is downloaded of a repository: never `pytorch_model*.bin`, which are pickles."""

REQUEST_TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 3
LONGEST_WAIT_S: Final = 20.0
"""A rate limit that lasts longer than this is reported instead of waited out."""

TRANSPORT_ERROR: Final[type[Exception]] = HfHubHTTPError.__mro__[1]
"""Root of the errors of the hub's HTTP client: httpx's or httpx2's `HTTPError`, by hub version."""


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
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            return request()
        except (TRANSPORT_ERROR, OSError, ValueError) as error:
            wait_s = _rate_limit_s(error)
            if wait_s is None or wait_s > LONGEST_WAIT_S or not attempts_left:
                raise _unavailable(error, model, revision, endpoint) from error
        time.sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _rate_limit_s(error: Exception) -> float | None:
    """Read how long a rate limit (HTTP 429) lasts, one second if it does not say; None for other errors."""
    response = getattr(error, "response", None)
    if response is None or response.status_code != 429:
        return None
    retry_after = response.headers.get("Retry-After", "")
    return float(retry_after) if retry_after.isdigit() else 1.0


def _unavailable(
    error: Exception, model: str, revision: str | None, endpoint: str | None
) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{_what_went_wrong(error, model_url(model, endpoint), revision)}\n"
        "To work without the hub, copy the model to a folder on a machine that has access,\n"
        f"    hf download {model} --local-dir FOLDER\n"
        "and set the captioner's option `model` to that folder."
    )


def _what_went_wrong(error: Exception, url: str, revision: str | None) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):  # a RepositoryNotFoundError too
        return f"the model {url} is gated: accept its terms on that page, then run `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"the model {url} has no revision {revision!r}"
    if isinstance(error, RepositoryNotFoundError) or status == 401:  # the hub says 401 for unknown names
        return f"the model {url} does not exist, or is private: check the name, or run `hf auth login`"
    if status == 403:
        return f"the hub refuses access to {url} (HTTP 403): run `hf auth login`"
    if status == 429:
        return f"the hub limits the rate of requests for {url} (HTTP 429): try later, or run `hf auth login`"
    if status is not None:
        return f"the hub answered HTTP {status} to a request for {url}"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the model {url} is not in the local cache and cannot be fetched: {reason}"
