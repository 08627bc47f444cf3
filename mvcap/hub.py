"""Ask the Hugging Face hub: wait out what passes, and explain every way in which it may refuse."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mvcap.errors import MvcapError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

REQUEST_TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 3
LONGEST_WAIT_S: Final = 20.0
"""A rate limit that lasts longer than this is reported instead of waited out."""
LONGEST_PATIENT_WAIT_S: Final = 330.0
"""Instead of that for files: the hub counts requests in windows of five minutes."""
TOLD_WAIT_S: Final = 10.0
"""A wait that people would wonder about."""

TRANSPORT_ERROR: Final[type[Exception]] = HfHubHTTPError.__mro__[1]
"""Root of the errors of the hub's HTTP client: httpx's or httpx2's `HTTPError`, by hub version."""


def ask(
    request: Callable[[], Answer], explain: Callable[[Exception], MvcapError], *, patient: bool = False
) -> Answer:
    """Send a request, waiting out short rate limits, and explain its failure.

    Args:
        explain: makes the error to raise of the one that was met.
        patient: try again after broken connections and errors of the server as well, and wait out longer
            rate limits.

    Raises:
        MvcapError: what `explain` made.
    """
    longest_s = LONGEST_PATIENT_WAIT_S if patient else LONGEST_WAIT_S
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            return request()
        except (TRANSPORT_ERROR, OSError, ValueError) as error:
            wait_s = _rate_limit_s(error)
            if wait_s is None and patient and may_pass(error):
                wait_s = float(ATTEMPTS - attempts_left)
            if wait_s is None or wait_s > longest_s or not attempts_left:
                raise explain(error) from error
            if wait_s >= TOLD_WAIT_S:
                log.warning("the hub answers %s; waiting %.0f s", status_of(error), wait_s)
        time.sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def may_pass(error: Exception) -> bool:
    """Tell whether an error may be gone a moment later: of the connection or the server, not the request."""
    status = status_of(error)
    if status is None:
        return isinstance(error, (TRANSPORT_ERROR, OSError)) and not isinstance(error, OfflineModeIsEnabled)
    return status == 429 or status >= 500


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error is about; None where no answer came."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def _rate_limit_s(error: Exception) -> float | None:
    """Read how long a rate limit (HTTP 429) lasts, one second if it does not say; None for other errors.

    `Retry-After` tells it, or `RateLimit: "resolvers";r=0;t=47`, as the hub writes.
    """
    if status_of(error) != 429:
        return None
    headers = error.response.headers  # type: ignore[attr-defined]
    retry_after = headers.get("Retry-After", "")
    window = re.search(r"\bt\s*=\s*(\d+)", headers.get("RateLimit", ""))
    if retry_after.isdigit():
        return float(retry_after)
    return float(window[1]) + 1 if window else 1.0


def what_went_wrong(error: Exception, what: str, revision: str | None) -> str:
    """Say in one line why the hub did not give something, and what would help.

    Args:
        what: is named in the line, with its page, such as `the model https://huggingface.co/some/model`.
    """
    status = status_of(error)
    if isinstance(error, GatedRepoError):  # a RepositoryNotFoundError too
        return f"{what} is gated: accept its terms on that page, then run `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"{what} has no revision {revision!r}"
    if isinstance(error, RepositoryNotFoundError) or status == 401:  # the hub says 401 for unknown names
        return f"{what} does not exist, or is private: check the name, or run `hf auth login`"
    if status == 404:
        return f"{what} does not hold this file"
    if status == 403:
        return f"the hub refuses access to {what} (HTTP 403): run `hf auth login`"
    if status == 429:
        return f"the hub limits the rate of requests for {what} (HTTP 429): try later, or run `hf auth login`"
    if status is not None:
        return f"the hub answered HTTP {status} to a request for {what}"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{what} is not in the local cache and cannot be fetched: {reason}"
