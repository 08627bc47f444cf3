"""A small Objaverse in the format of the real one: annotations, LVIS lists, object paths and GLB files."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trimesh

DATASET = "allenai/objaverse"

SHAPES = {
    "box": lambda: trimesh.creation.box((1.0, 0.6, 0.4)),
    "ball": lambda: trimesh.creation.icosphere(subdivisions=2),
    "tube": lambda: trimesh.creation.cylinder(radius=0.3, height=1.2, sections=24),
}


@dataclass(frozen=True)
class Thing:
    """One object and what its annotation says."""

    uid: str
    shard: str = "000-023"
    shape: str = "box"
    name: str = "Thing"
    lvis: tuple[str, ...] = ()
    license: str = "by"
    tags: tuple[str, ...] = ()
    faces: int | None = None
    animations: int = 0
    age_restricted: bool = False
    model: Path | None = None
    """A model file to convert, instead of a shape."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Keys of the annotation to replace, or with None to leave out."""

    def annotation(self, glb: bytes) -> dict[str, Any]:
        """Keys and nesting as in the hub's `metadata/000-000.json.gz`; the archive's size is the file's."""
        faces = 100 if self.faces is None else self.faces
        content: dict[str, Any] = {
            "uri": f"https://api.sketchfab.com/v3/models/{self.uid}",
            "uid": self.uid,
            "name": self.name,
            "staffpickedAt": None,
            "viewCount": 12,
            "likeCount": 1,
            "animationCount": self.animations,
            "viewerUrl": f"https://sketchfab.com/3d-models/{self.uid}",
            "embedUrl": f"https://sketchfab.com/models/{self.uid}/embed",
            "commentCount": 0,
            "isDownloadable": True,
            "publishedAt": "2021-03-18T09:36:25.430631",
            "tags": [{"name": tag, "slug": tag, "uri": f"https://x/{tag}"} for tag in self.tags],
            "categories": [{"name": "furniture-home"}],
            "thumbnails": {"images": []},
            "user": {
                "uid": "f5e8",
                "username": "ada",
                "displayName": "Ada Lovelace",
                "profileUrl": "https://sketchfab.com/ada",
                "account": "pro",
            },
            "description": "",
            "faceCount": faces,
            "createdAt": "2021-03-18T09:15:01.217264",
            "vertexCount": faces // 2 + 2,
            "isAgeRestricted": self.age_restricted,
            "archives": {
                "glb": {"textureCount": 0, "size": len(glb), "type": "glb", "faceCount": faces},
                "source": {"textureCount": None, "size": 1, "type": "source"},
            },
            "license": self.license,
        }
        content |= self.changes
        return {key: value for key, value in content.items() if value is not None}


def write(root: Path, things: Iterable[Thing], *, models: bool = True) -> Path:
    """Write things below a folder: the hub's dataset, or a cache of the library, which is laid out alike."""
    things = list(things)
    shards: dict[str, dict[str, Any]] = {}
    lvis: dict[str, list[str]] = {}
    for thing in things:
        glb = as_glb(thing)
        shards.setdefault(thing.shard, {})[thing.uid] = thing.annotation(glb)
        for category in thing.lvis:
            lvis.setdefault(category, []).append(thing.uid)
        if models:
            path = root / "glbs" / thing.shard / f"{thing.uid}.glb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(glb)
    write_json(root / "object-paths.json.gz", {t.uid: f"glbs/{t.shard}/{t.uid}.glb" for t in things})
    write_json(root / "lvis-annotations.json.gz", lvis)
    for shard, annotations in shards.items():
        write_json(root / "metadata" / f"{shard}.json.gz", annotations)
    return root


def as_glb(thing: Thing) -> bytes:
    """Return the thing's model as a GLB file."""
    scene = trimesh.load_scene(thing.model) if thing.model else trimesh.Scene(SHAPES[thing.shape]())
    content: bytes = scene.export(file_type="glb")
    return content


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump(content, file)
