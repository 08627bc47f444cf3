"""What a refusal of object storage means, and what to do about it; never a key, a token or a signature."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from mvcap.errors import DiskFullError, MvcapError, OutputError, StorageUnreachableError
from mvcap.places import ObjectPlace

RIGHTS: Final = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"
DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
FULL: Final = ("quota", "storagefull", "insufficientstorage")
"""Stand in the codes with which MinIO, Ceph and others say that there is no room."""
ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)


@contextmanager
def explained(place: ObjectPlace, *, present: bool = True) -> Iterator[None]:
    """Turn what a client of S3 raises into errors that say what to do.

    What callers decide by stays as s3fs raises it: a missing object, and a condition that does not hold.

    Args:
        present: whether the bucket is known to be there, so that a "404" means the object.

    Raises:
        OutputError: the storage refuses, and will go on doing so.
        StorageUnreachableError: nobody answers.
        DiskFullError: there is no room left.
    """
    try:
        yield
    except MvcapError:
        raise
    except Exception as error:
        if meaning := _meaning(error, place, present):
            raise meaning from error
        raise


def refused(error: BaseException) -> int | None:
    """Return the HTTP status with which a request was refused; None for any other error."""
    response = _response(error)
    return int(response["ResponseMetadata"]["HTTPStatusCode"]) if response else None


def _response(error: BaseException) -> dict[str, Any] | None:
    """Find the server's answer: s3fs raises errors of Python's own kinds because of botocore's."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict) and "ResponseMetadata" in response:
            return response
    return None


def _meaning(error: Exception, place: ObjectPlace, present: bool) -> MvcapError | None:
    if (response := _response(error)) is None:
        return _meaning_without_answer(error, place)
    status, code = refused(error) or 0, str(response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket" or (status == 404 and not present):
        return OutputError(f"there is no bucket {place.bucket}: create it, or name another place with --out")
    if code == "RequestTimeTooSkewed":
        return OutputError(f"{place}: the storage refuses this machine's clock, which is off; set it right")
    if status == 507 or any(word in code.lower() for word in FULL):
        return DiskFullError(f"no space left to write {place} ({code}); free some and run again")
    if code in DENIED or status in (401, 403):
        return OutputError(
            f"{place}: access is denied ({code or status}); give credentials that may {RIGHTS} there, by "
            "AWS_PROFILE or by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if code in ELSEWHERE or status in (301, 307):
        return OutputError(f"{place}: the bucket is in another region ({code}); set AWS_DEFAULT_REGION to it")
    if status == 501:
        return OutputError(f"{place}: this storage lacks what datasets need of it ({code})")
    if status >= 500 or status == 429:
        return StorageUnreachableError(f"{place}: the storage fails ({code or status}); run again later")
    if status in (404, 409, 412):
        return None
    return OutputError(f"{place}: the storage refuses a request ({code or status})")


def _meaning_without_answer(error: Exception, place: ObjectPlace) -> MvcapError | None:
    from aiohttp import ClientError
    from botocore import exceptions
    from fsspec.exceptions import FSTimeoutError

    kind = type(error).__name__
    broken = (ClientError, exceptions.HTTPClientError, exceptions.ConnectionError, FSTimeoutError)
    if isinstance(error, broken):
        return StorageUnreachableError(
            f"{place}: {_endpoint()} does not answer ({kind}); if that is the right one, run again later"
        )
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return OutputError(
            f"{place}: there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, on every machine that works on the dataset"
        )
    if isinstance(error, exceptions.BotoCoreError):
        return OutputError(f"{place}: the client is not set up ({kind}); see ~/.aws/config and AWS_PROFILE")
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return OutputError(
            f"{place}: {_endpoint()} is no address; correct AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL"
        )
    return None


def _endpoint() -> str:
    """Name the endpoint that the environment chooses, without what may stand in it besides the host."""
    chosen = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not chosen:
        return "the storage"
    parts = urlsplit(chosen)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else "the configured endpoint"
