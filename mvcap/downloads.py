"""Fetch files of a dataset on the hub: resumed, checked against their checksum, and whole or not there.

The hub's client resumes a broken transfer within one call and compares sizes; what was received stays
here for the next call too, whichever process makes it, and the content is hashed before it gets its name.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlparse

from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars  # type: ignore[attr-defined]

from mvcap.errors import DiskFullError, FetchError, HubUnreachableError, MvcapError
from mvcap.files import TEMPORARY, disk_full_explained, sync
from mvcap.hub import REQUEST_TIMEOUT_S, TRANSPORT_ERROR, ask, may_pass, what_went_wrong

HASHED_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A dataset on the hub; `HF_ENDPOINT` names another hub than the public one."""

    name: str
    revision: str = constants.DEFAULT_REVISION

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/datasets/{self.name}"

    def metadata(self, path: str) -> HfFileMetadata:
        """Ask for the size and checksum of a file, and so whether it may be read.

        Raises:
            FetchError: the hub refuses it.
            HubUnreachableError: the hub does not answer.
        """
        url = hf_hub_url(self.name, path, repo_type="dataset", revision=self.revision)
        return ask(
            lambda: get_hf_file_metadata(url, timeout=REQUEST_TIMEOUT_S),
            lambda error: self._explained(error, path),
            patient=True,
        )

    def fetch(self, path: str, target: Path, *, quiet: bool = True) -> Path:
        """Put a file of the dataset at `target`, unless there is one, and return it.

        Several processes may ask for the same file; one of them fetches it.

        Args:
            quiet: without a progress bar, which else is shown on a terminal.

        Raises:
            FetchError: the hub refuses the file, or what came is not what its checksum says.
            HubUnreachableError: the hub does not answer.
            DiskFullError: there is no room for it.
        """
        if target.exists():
            return target
        if quiet:
            disable_progress_bars("huggingface_hub.http_get")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial(target) as file:
            if file is not None:
                ask(
                    lambda: self._receive(path, target, file),
                    lambda error: self._explained(error, path),
                    patient=True,
                )
        return target

    def _receive(self, path: str, target: Path, file: BinaryIO) -> None:
        """Receive what is missing of a file, hash it and give it its name.

        Raises:
            OSError: it is not what it should be; nothing is kept of it.
        """
        metadata = self.metadata(path)
        received = file.seek(0, os.SEEK_END)
        if metadata.size is not None and received > metadata.size:
            received = file.truncate(0)
            file.seek(0)
        with disk_full_explained(target):
            http_get(
                metadata.location,
                file,
                resume_size=received,
                headers=_headers(metadata),
                expected_size=metadata.size,
                displayed_filename=target.name,
            )
            file.flush()
        if problem := _wrong_checksum(file, (metadata.etag or "").strip('"')):
            file.truncate(0)
            raise OSError(f"{problem}; nothing of it was kept")
        sync(Path(file.name))
        Path(file.name).rename(target)
        sync(target.parent)

    def _explained(self, error: Exception, path: str) -> MvcapError:
        message = f"{path}: {what_went_wrong(error, f'the dataset {self.url}', self.revision)}"
        if may_pass(error) and isinstance(error, (TRANSPORT_ERROR, ConnectionError)):
            return HubUnreachableError(
                f"{message}\nThe same command goes on from here. Where the hub cannot be reached at all, set "
                "HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy."
            )
        return FetchError(message)


@contextmanager
def _partial(target: Path) -> Iterator[BinaryIO | None]:
    """Open what was received so far of a file, and keep others from it; None once the file is whole."""
    path = target.with_name(f"{TEMPORARY}{target.name}")
    while not target.exists():
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if target.exists():  # somebody else was first, and this call may have made the name anew
                path.unlink(missing_ok=True)
                break
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return
    yield None


def _headers(metadata: HfFileMetadata) -> dict[str, str]:
    """Make a request's headers; the token stays with the hub when a file lies elsewhere."""
    at_hub = urlparse(metadata.location).netloc == urlparse(constants.ENDPOINT).netloc
    return build_hf_headers(token=None if at_hub else False)


def _wrong_checksum(file: BinaryIO, expected: str) -> str | None:
    """Compare content with the hub's ETag: a sha256, or git's sha1 of a small file; None where it fits."""
    if re.fullmatch(r"[0-9a-f]{64}", expected):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", expected):
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
    else:
        return None
    file.seek(0)
    while chunk := file.read(HASHED_BYTES):
        digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f"its checksum is {found}, not {expected}"


def require_room(folder: Path, wanted_bytes: int, what: str) -> None:
    """Refuse to begin where the disk has not enough room.

    Raises:
        DiskFullError: with the bytes that are needed and those that are free.
    """
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if wanted_bytes > (free := shutil.disk_usage(place).free):
        raise DiskFullError(
            f"{what} needs {wanted_bytes / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free"
        )
