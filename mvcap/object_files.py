"""Files in a bucket of S3-compatible storage, through s3fs.

A put is whole or not there. `create_if_absent` and `replace` are single puts under a condition
(`If-None-Match: *`, `If-Match`), which is what commits rest on; `probe` finds out whether it is kept.
Credentials, region and endpoint are what every S3 client takes from the environment (`AWS_ACCESS_KEY_ID`,
`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, ...); none of it is read, kept or written here.
"""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mvcap.errors import MissingExtraError, OutputError
from mvcap.local_files import disk_full_explained
from mvcap.object_answers import Answers, counting, known
from mvcap.object_errors import explained, refused
from mvcap.places import FileFacts, ObjectPlace, temporary_name
from mvcap.temporary import TemporaryFolder

if TYPE_CHECKING:
    from s3fs import S3FileSystem

Answer = TypeVar("Answer")

SCRATCH: Final = "mvcap-upload-"
PART_BYTES: Final = 16 * 2**20
"""Of a large upload; with `PARTS_AT_ONCE` it bounds what an upload holds in memory."""
PARTS_AT_ONCE: Final = 4
ASKED_AT_ONCE: Final = 32
FETCHED_TOGETHER: Final = 256
FETCHED_BYTES: Final = 256 * 2**20
"""Kept of what is read ahead: commit records take some 10 KB each, and a dataset may have many."""
READ_TIMEOUT_S: Final = 60
"""The server takes its time to copy what has gigabytes."""
BUSY_WAITS_S: Final = (0.1, 0.5, 2.0, 5.0)
"""Waits after "409, another write is under way", which says neither yes nor no."""
TORN_WAITS_S: Final = (0.1, 0.5, 2.0)
"""Waits after an answer that broke off in the middle."""
SHA256: Final = "sha256"
"""The metadata field in which an upload says its checksum; copies on the server keep it."""


def probe(folder: ObjectPlace) -> None:
    """Make sure that the bucket can be written and honours conditions; nothing is left in it.

    Raises:
        OutputError: there is no such bucket, no access to it, or it overwrites in spite of a condition.
        StorageUnreachableError: nobody answers.
    """
    place = temporary_name(folder / "probe")
    with explained(folder, present=False):
        _call("head_bucket", Bucket=folder.bucket)
    try:
        write_bytes(place, b"probe")
        if create_if_absent(place, b"another") or replace(place, b"another", '"0"'):
            raise OutputError(
                f"{folder}: this storage ignores If-None-Match or If-Match when it writes, so that two "
                "drivers would overwrite each other's work; use one that honours conditional writes"
            )
    finally:
        delete(place)


def facts(place: ObjectPlace, *, anew: bool = False) -> FileFacts | None:
    """Return size and told checksum; None where there is no such object."""
    if anew:
        known().forget(place)
    answered = known().facts
    return answered[place] if place in answered else _ask([place], _facts)[place]


def read_versioned(place: ObjectPlace) -> tuple[bytes, str]:
    """Read a whole object and its ETag.

    Raises:
        FileNotFoundError: there is none.
    """
    answered = known().contents
    found = answered[place] if place in answered else _ask([place], _content)[place]
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    return found


@contextmanager
def fetched(contents: Iterable[ObjectPlace], facts_of: Callable[[], Iterable[ObjectPlace]]) -> Iterator[None]:
    """Ask about many objects at once; the answers count for this thread until the end of the block.

    Args:
        contents: objects to read; of very many, only the first `FETCHED_BYTES`.
        facts_of: says, once these are read, about which ones to ask for size and checksum.
    """
    answers, left = Answers(), list(contents)
    while left and sum(len(found[0]) for found in answers.contents.values() if found) < FETCHED_BYTES:
        answers.contents |= _ask(left[:FETCHED_TOGETHER], _content)
        del left[:FETCHED_TOGETHER]
    with counting(answers):
        answers.facts |= _ask(list(facts_of()), _facts)
        yield


@contextmanager
def open_input(place: ObjectPlace) -> Iterator[Any]:
    """Give a file that fetches what is read of it; an object that changes meanwhile is an error.

    Raises:
        FileNotFoundError: there is none.
    """
    with explained(place), _storage().open(_path(place), "rb", cache_type="none") as file:
        yield file


def list_files(folder: ObjectPlace) -> list[ObjectPlace]:
    """List all objects below a prefix, sorted; new ones may be missing for a while."""
    prefix = f"{folder.key}/" if folder.key else ""
    keys: list[str] = []
    onward: dict[str, str] | None = {}
    with explained(folder):
        while onward is not None:
            page = _call("list_objects_v2", Bucket=folder.bucket, Prefix=prefix, **onward)
            keys += [entry["Key"] for entry in page.get("Contents", [])]
            onward = {"ContinuationToken": page["NextContinuationToken"]} if page["IsTruncated"] else None
    return sorted(ObjectPlace(folder.bucket, key) for key in keys if not key.endswith("/"))


def delete(place: ObjectPlace) -> None:
    """Remove an object; nothing happens where there is none."""
    known().forget(place)
    with explained(place):
        _call("delete_object", **_where(place))


def move(source: ObjectPlace, target: ObjectPlace) -> None:
    """Let the server copy an object over whatever `target` is, then remove the source.

    Raises:
        FileNotFoundError: there is no source.
    """
    found = facts(source)
    known().forget(target)
    with explained(target):
        # What is larger than a single copy may be is copied in parts, which forget the metadata.
        metadata = {"Metadata": {SHA256: found.sha256}} if found and found.sha256 and _in_parts(found) else {}
        _storage().cp_file(_path(source), _path(target), **metadata)
    delete(source)


def write_bytes(place: ObjectPlace, content: bytes) -> None:
    """Put an object, with its checksum, whatever was there."""
    with explained(place):
        _put(place, content)


def create_if_absent(place: ObjectPlace, content: bytes) -> bool:
    """Put an object unless there is one; return whether what is there now came from this call."""
    return _put_if(place, content, IfNoneMatch="*")


def replace(place: ObjectPlace, content: bytes, version: str) -> bool:
    """Put an object over one of the ETag `version`; return whether what is there now came from this call."""
    return _put_if(place, content, IfMatch=version)


@contextmanager
def scratch(place: ObjectPlace) -> Iterator[Path]:
    """Give a path on this machine to fill, of the same name; it goes with the process at the latest."""
    folder = TemporaryFolder.open(SCRATCH)
    try:
        with disk_full_explained(folder.path):
            yield folder.path / place.name
    finally:
        folder.remove()


def publish(scratch_file: Path, place: ObjectPlace) -> FileFacts:
    """Upload a file together with its checksum."""
    with scratch_file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known().forget(place)
    with explained(place):
        _storage().put_file(
            str(scratch_file),
            _path(place),
            chunksize=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
            Metadata={SHA256: digest},
        )
    return FileFacts(scratch_file.stat().st_size, digest)


def sha256_of(place: ObjectPlace) -> str:
    """Hash an object's content, without holding it."""
    digest = hashlib.sha256()
    with open_input(place) as file:
        while chunk := file.read(PART_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def discard_uploads(folder: ObjectPlace) -> None:
    """Abort unfinished uploads of parts: nobody sees them, and their room is paid for until that is done."""
    prefix = f"{folder.key}/" if folder.key else ""
    uploads: list[dict[str, Any]] = []
    onward: dict[str, str] | None = {}
    with explained(folder):
        while onward is not None:
            page = _call("list_multipart_uploads", Bucket=folder.bucket, Prefix=prefix, **onward)
            uploads += page.get("Uploads", [])
            after = {name: page.get(f"Next{name}") for name in ("KeyMarker", "UploadIdMarker")}
            told = {name: marker for name, marker in after.items() if marker}
            onward = told if page.get("IsTruncated") and told else None
        for upload in uploads:
            _call(
                "abort_multipart_upload",
                Bucket=folder.bucket,
                Key=upload["Key"],
                UploadId=upload["UploadId"],
            )


def _put_if(place: ObjectPlace, content: bytes, **condition: str) -> bool:
    for wait_s in (*BUSY_WAITS_S, None):
        try:
            with explained(place):
                _put(place, content, **condition)
            return True
        except OSError as error:
            status = refused(error)
            if status == 409 and wait_s is not None:
                time.sleep(wait_s)
            elif status in (404, 409, 412):
                break
            else:
                raise
    # A put whose answer was lost is sent again by the client, and then refused for its own sake. Of callers
    # with the same content, more than one may believe that it was theirs.
    try:
        return read_versioned(place)[0] == content
    except FileNotFoundError:
        return False


def _put(place: ObjectPlace, content: bytes, **condition: str) -> None:
    known().forget(place)
    told = {SHA256: hashlib.sha256(content).hexdigest()}
    _call("put_object", Body=content, Metadata=told, **_where(place), **condition)


def _ask(
    places: Sequence[ObjectPlace], question: Callable[["S3FileSystem", ObjectPlace], Awaitable[Answer]]
) -> dict[ObjectPlace, Answer | None]:
    """Ask the same of many objects, `ASKED_AT_ONCE` at a time; None stands for one that is not there."""
    from fsspec.asyn import sync

    storage = _storage()

    async def ask_all() -> dict[ObjectPlace, Answer | None]:
        turns = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(place: ObjectPlace) -> Answer | None:
            async with turns:
                try:
                    with explained(place):
                        return await _until_whole(lambda: question(storage, place))
                except FileNotFoundError:
                    return None

        return dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))

    answers: dict[ObjectPlace, Answer | None] = sync(storage.loop, ask_all)
    return answers


async def _until_whole(read: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again where an answer broke off; requests that fail before that are the client's to repeat."""
    from aiohttp import ClientPayloadError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for wait_s in TORN_WAITS_S:
        try:
            return await read()
        except (ClientPayloadError, HTTPClientError, IncompleteReadError):
            await asyncio.sleep(wait_s)
    return await read()


async def _facts(storage: "S3FileSystem", place: ObjectPlace) -> FileFacts:
    head = await storage._call_s3("head_object", **_where(place))
    return FileFacts(head["ContentLength"], head.get("Metadata", {}).get(SHA256))


async def _content(storage: "S3FileSystem", place: ObjectPlace) -> tuple[bytes, str]:
    answer = await storage._call_s3("get_object", **_where(place))
    try:
        return await answer["Body"].read(), answer["ETag"]
    finally:
        answer["Body"].close()


def _call(method: str, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = _storage().call_s3(method, **arguments)
    return answer


def _storage() -> "S3FileSystem":
    """Return the client of this process and thread; s3fs keeps it.

    Raises:
        MissingExtraError: s3fs is not installed.
    """
    try:
        from s3fs import S3FileSystem
    except ImportError as error:
        raise MissingExtraError("datasets on s3:// need s3fs: pip install 'mvcap[s3]'") from error
    return S3FileSystem(use_listings_cache=False, config_kwargs={"read_timeout": READ_TIMEOUT_S})


def _where(place: ObjectPlace) -> dict[str, str]:
    return {"Bucket": place.bucket, "Key": place.key}


def _path(place: ObjectPlace) -> str:
    return f"{place.bucket}/{place.key}"


def _in_parts(known: FileFacts) -> bool:
    from s3fs.core import MANAGED_COPY_THRESHOLD

    return bool(known.bytes > MANAGED_COPY_THRESHOLD)
