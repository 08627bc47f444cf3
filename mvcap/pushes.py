"""Send files to a dataset repository of the Hugging Face hub, and ask what it has."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    disable_progress_bars,
    get_session,
    hf_raise_for_status,
)

from mvcap.errors import HubUnreachableError, MvcapError, PushError
from mvcap.hub import TRANSPORT_ERROR, ask, may_pass, status_of

MAIN: Final = "main"
KIND: Final = "dataset"
TOKENS: Final = "https://huggingface.co/settings/tokens"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Hashes:
    """By which the hub knows a file: `sha256` for large ones, git's own for those that it keeps in git."""

    sha256: str
    git_sha1: str | None = None

    @classmethod
    def of(cls, content: bytes) -> "Hashes":
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return cls(hashlib.sha256(content).hexdigest(), git.hexdigest())


@dataclass(frozen=True, slots=True)
class Repository:
    """A branch of a dataset repository."""

    name: str
    """`OWNER/NAME`."""
    revision: str

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/datasets/{self.name}"

    def create(self, *, private: bool) -> None:
        """Make the repository and the branch, where they are not there yet; one that is keeps its visibility.

        Raises:
            PushError: nobody is logged in, or must not do it.
            HubUnreachableError: there was no answer.
        """
        api = HfApi()
        self._ask(lambda: api.create_repo(self.name, repo_type=KIND, private=private or None, exist_ok=True))
        if self.revision != MAIN:
            self._ask(
                lambda: api.create_branch(self.name, branch=self.revision, repo_type=KIND, exist_ok=True)
            )

    def list_files(self) -> dict[str, Hashes]:
        """List what the branch holds, by path."""
        tree = self._ask(
            lambda: list(
                HfApi().list_repo_tree(self.name, repo_type=KIND, revision=self.revision, recursive=True)
            )
        )
        return {
            entry.path: Hashes(entry.lfs.sha256 if entry.lfs else "", entry.blob_id)
            for entry in tree
            if isinstance(entry, RepoFile)
        }

    def read(self, path: str) -> bytes | None:
        """Read a small file; None where there is none."""

        def fetch() -> bytes:
            url = hf_hub_url(self.name, path, repo_type=KIND, revision=self.revision)
            response = get_session().get(url, headers=build_hf_headers())
            hf_raise_for_status(response)
            content: bytes = response.content
            return content

        try:
            return self._ask(fetch)
        except PushError as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                return None
            raise

    def commit(self, message: str, added: Mapping[str, Path | bytes], deleted: Iterable[str] = ()) -> None:
        """Add and delete files in one commit; content of an earlier attempt that the hub has is not sent."""
        disable_progress_bars()

        def send() -> None:
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                *(
                    CommitOperationAdd(path, str(c) if isinstance(c, Path) else c)
                    for path, c in added.items()
                ),
                *(CommitOperationDelete(path) for path in deleted),
            ]
            HfApi().create_commit(
                self.name, operations, commit_message=message, repo_type=KIND, revision=self.revision
            )

        self._ask(send)

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        def unwrapped() -> Answer:
            try:
                return request()
            except RuntimeError as error:  # around an upload's own error; or from the Xet client, as text
                if isinstance(error, (TRANSPORT_ERROR, OSError)):
                    raise
                if isinstance(error.__cause__, (TRANSPORT_ERROR, OSError)):
                    raise error.__cause__ from error
                raise ConnectionError(str(error)) from error

        return ask(unwrapped, self._explain, patient=True)

    def _explain(self, error: Exception) -> MvcapError:
        status, where = status_of(error), self.url
        again = "the same command then goes on and sends only what is missing"
        if status == 401:
            return PushError(
                f"the hub does not know who writes to {where} (HTTP 401): run `hf auth login`, or set "
                f"HF_TOKEN, with a token of {TOKENS} that may write; {again}"
            )
        if status == 403:
            return PushError(
                f"your token may not write to {where} (HTTP 403): make one with write access at {TOKENS} and "
                f"run `hf auth login`, or have its owner let you in; {again}"
            )
        if status == 429:
            return PushError(
                f"the hub takes no more requests for {where} for now (HTTP 429): wait some minutes; {again}"
            )
        if status is not None and not may_pass(error):
            return PushError(
                f"the hub refuses what is sent to {where} (HTTP {status}); check --repo and --revision"
            )
        reason = (
            f"it answers HTTP {status}" if status else (str(error).strip().splitlines() or ["no answer"])[0]
        )
        return HubUnreachableError(f"{where} cannot be written to: {reason}; {again}")
