"""Which files of this machine the workers of each stage read, so that other nodes can be asked for them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mvcap.commits import CAPTION, RENDER, StageName
from mvcap.config import Config
from mvcap.records import SelectedObject


def files_read(config: Config, objects: Iterable[SelectedObject]) -> Mapping[StageName, tuple[str, ...]]:
    """Name files and folders that are here and must be elsewhere too.

    Of each source one asset stands for all, and none where they are yet to be fetched. Models are named
    where they are folders; each node finds the others on the hub for itself.
    """
    samples: dict[str, str] = {}
    for item in objects:
        if item.record.source not in samples and Path(item.record.asset).exists():
            samples[item.record.source] = str(Path(item.record.asset).absolute())
    beside = [config.render.backgrounds, config.render.blender]
    models = [getattr(config.captions.options, "model", None), config.captions.clip.model]
    return {
        RENDER: (*samples.values(), *map(str, filter(None, map(_place, beside)))),
        CAPTION: tuple(str(folder) for model in models if (folder := _place(model)) and folder.is_dir()),
    }


def _place(named: object) -> Path | None:
    """Return where a named file or folder lies; None of a name that is none, such as one on the hub."""
    if not isinstance(named, str):
        return None
    place = Path(named).expanduser().absolute()
    return place if place.exists() else None
