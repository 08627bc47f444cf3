"""Files in a bucket of S3-compatible storage, through s3fs.

A put is whole or not there. `create_if_absent` and `replace` are single puts under a condition
(`If-None-Match: *`, `If-Match`), which is what commits rest on; `probe` finds out whether it is kept.
Credentials, region and endpoint are what every S3 client takes from the environment (`AWS_ACCESS_KEY_ID`,
`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, ...); none of it is read, kept or written here.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mvcap.errors import MissingExtraError, OutputError
from mvcap.local_files import disk_full_explained
from mvcap.object_errors import explained, refused
from mvcap.places import FileFacts, ObjectPlace, temporary_name
from mvcap.temporary import TemporaryFolder

if TYPE_CHECKING:
    from s3fs import S3FileSystem

SCRATCH: Final = "mvcap-upload-"
PART_BYTES: Final = 16 * 2**20
"""Of a large upload; with `PARTS_AT_ONCE` it bounds what an upload holds in memory."""
PARTS_AT_ONCE: Final = 4
READ_TIMEOUT_S: Final = 60
"""The server takes its time to copy what has gigabytes."""
BUSY_WAITS_S: Final = (0.1, 0.5, 2.0, 5.0)
"""Waits after "409, another write is under way", which says neither yes nor no."""
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


def facts(place: ObjectPlace) -> FileFacts | None:
    """Return size and told checksum; None where there is no such object."""
    try:
        with explained(place):
            head = _call("head_object", **_where(place))
    except FileNotFoundError:
        return None
    return FileFacts(head["ContentLength"], head.get("Metadata", {}).get(SHA256))


def read_versioned(place: ObjectPlace) -> tuple[bytes, str]:
    """Read a whole object and its ETag.

    Raises:
        FileNotFoundError: there is none.
    """
    from fsspec.asyn import sync

    storage = _storage()
    with explained(place):
        content, etag = sync(storage.loop, _read, storage, place)
    return content, etag


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
    with explained(place):
        _call("delete_object", **_where(place))


def move(source: ObjectPlace, target: ObjectPlace) -> None:
    """Let the server copy an object over whatever `target` is, then remove the source.

    Raises:
        FileNotFoundError: there is no source.
    """
    known = facts(source)
    with explained(target):
        # What is larger than a single copy may be is copied in parts, which forget the metadata.
        metadata = {"Metadata": {SHA256: known.sha256}} if known and known.sha256 and _in_parts(known) else {}
        _storage().cp_file(_path(source), _path(target), **metadata)
    delete(source)


def write_bytes(place: ObjectPlace, content: bytes) -> None:
    with explained(place):
        _call("put_object", Body=content, **_where(place))


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
    with explained(folder):
        found = _call("list_multipart_uploads", Bucket=folder.bucket, Prefix=prefix)
        for upload in found.get("Uploads", []):
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
                _call("put_object", Body=content, **_where(place), **condition)
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


async def _read(storage: "S3FileSystem", place: ObjectPlace) -> tuple[bytes, str]:
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
