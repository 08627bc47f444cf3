"""What Objaverse's annotations say about an object, and which objects are wanted by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LICENSES: Final = {
    "by": "CC-BY-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
}
"""Objaverse's name of a licence -> its SPDX name."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object as Sketchfab describes it; what is not told, or of another type, is empty."""

    name: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    license: str | None
    """Objaverse's name."""
    creator: str | None
    url: str | None
    faces: int
    animations: int
    age_restricted: bool
    glb_bytes: int | None


def read_annotation(raw: Mapping[str, Any]) -> Annotation:
    """Take what is used from an annotation; nothing about its types is trusted."""
    user, archives = _mapping(raw.get("user")), _mapping(raw.get("archives"))
    size = _mapping(archives.get("glb")).get("size")
    return Annotation(
        name=_text(raw.get("name")) or "",
        tags=_names(raw.get("tags")),
        categories=_names(raw.get("categories")),
        license=_text(raw.get("license")),
        creator=_text(user.get("displayName")) or _text(user.get("username")),
        url=_text(raw.get("viewerUrl")),
        faces=_count(raw.get("faceCount")),
        animations=_count(raw.get("animationCount")),
        age_restricted=bool(raw.get("isAgeRestricted")),
        glb_bytes=size if isinstance(size, int) else None,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which objects are wanted; None asks for nothing."""

    licenses: frozenset[str] | None
    min_faces: int | None
    max_faces: int | None
    max_bytes: int | None
    animated: bool | None
    age_restricted: bool
    tags: frozenset[str] | None
    """Lower case; one of them is enough."""

    def includes(self, annotation: Annotation) -> bool:
        """Tell whether an object is wanted; one whose licence or size is not told fails a filter by it."""
        return all(
            (
                self.licenses is None or annotation.license in self.licenses,
                self.min_faces is None or annotation.faces >= self.min_faces,
                self.max_faces is None or annotation.faces <= self.max_faces,
                self.max_bytes is None or 0 <= (annotation.glb_bytes or -1) <= self.max_bytes,
                self.animated is None or bool(annotation.animations) == self.animated,
                self.age_restricted or not annotation.age_restricted,
                self.tags is None or not self.tags.isdisjoint(tag.lower() for tag in annotation.tags),
            )
        )


def _names(entries: Any) -> tuple[str, ...]:
    found = (_text(_mapping(entry).get("name")) for entry in (entries if isinstance(entries, list) else ()))
    return tuple(name for name in found if name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """Return text without what no table could hold."""
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode().strip() or None


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
