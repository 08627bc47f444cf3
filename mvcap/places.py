"""What a dataset's place is: a folder of a file system, or a prefix in a bucket (`s3://bucket/prefix`)."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias, TypeVar
from uuid import uuid4

from mvcap.errors import UsageError

TEMPORARY: Final = ".attempt-"
"""Stands in the name of every file that is not finished."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectPlace:
    """A key of a bucket, or a prefix of keys: the lexical half of what `pathlib.Path` can."""

    bucket: str
    key: str = ""
    """Without a slash at either end; empty for the whole bucket."""

    def __truediv__(self, name: str) -> "ObjectPlace":
        return ObjectPlace(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> "ObjectPlace":
        return ObjectPlace(self.bucket, self.key.rpartition("/")[0])

    def absolute(self) -> "ObjectPlace":
        return self

    def with_name(self, name: str) -> "ObjectPlace":
        return self.parent / name

    def relative_to(self, other: "Place") -> PurePosixPath:
        """Return what comes after `other`.

        Raises:
            ValueError: this place is not inside it.
        """
        if not isinstance(other, ObjectPlace) or self.bucket != other.bucket:
            raise ValueError(f"{self} is not inside {other}")
        return PurePosixPath(self.key).relative_to(other.key)


Place: TypeAlias = Path | ObjectPlace
"""Where a dataset or one of its files lies."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What can be told of a file without reading it."""

    bytes: int
    sha256: str | None = None
    """As whoever put the file there said; None where nobody did."""


AnyPlace = TypeVar("AnyPlace", Path, ObjectPlace, Place)

SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


def parse_place(text: str) -> Place:
    """Read what a user calls a dataset's place.

    Raises:
        UsageError: it is a URL other than `s3://bucket/prefix`.
    """
    scheme = SCHEME.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() != "s3":
        raise UsageError(
            f"{text}: a dataset lies in a folder or on S3-compatible storage (s3://bucket/prefix), and "
            "nowhere else"
        )
    bucket, _, key = text[scheme.end() :].partition("/")
    key = key.rstrip("/")
    if not BUCKET.fullmatch(bucket) or any(part in ("", ".", "..") for part in key.split("/") if key):
        raise UsageError(f"{text} must be s3://bucket/prefix, such as s3://my-bucket/datasets/chairs")
    return ObjectPlace(bucket, key)


def relative_name(place: Place, root: Place) -> str:
    """Name a file by what comes after `root`, with slashes.

    Raises:
        ValueError: it is not inside.
    """
    if isinstance(place, ObjectPlace):
        return str(place.relative_to(root))
    if isinstance(root, ObjectPlace):
        raise ValueError(f"{place} is not inside {root}")
    return str(place.relative_to(root))


def temporary_name(place: AnyPlace) -> AnyPlace:
    """Return a name beside `place` that no other attempt uses."""
    return place.with_name(f"{TEMPORARY}{uuid4().hex[:12]}-{place.name}")
