"""Open pictures of any layout that is known."""

from collections.abc import Callable
from pathlib import Path

from mvcap.errors import UsageError
from mvcap.storage import INTERNAL
from training.pictures import PictureSet
from training.pictures.dataset import DatasetPictures, require_whole
from training.pictures.image_folder import FolderPictures
from training.pictures.tars import TarPictures


def open_pictures(
    folder: Path,
    *,
    keep: Callable[[str, str], bool],
    names: Path | None = None,
    caption: str | None = None,
) -> PictureSet:
    """Open a dataset of ours, webdataset tars, or a folder for each class, told apart by what is there.

    Args:
        keep: given a split and a uid, whether an object of a dataset of ours is wanted.
        names: a file of class names for the other layouts.
        caption: a sentence with `{}` for the class, for the other layouts.

    Raises:
        UsageError: there is no such folder, or nothing in it is known.
        EmptyInputError: it holds no pictures.
        CorruptDatasetError: a finished dataset lacks some of its views.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        problem = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        raise UsageError(f"{problem}; give --data or --clean a folder of pictures, or a dataset")
    if (folder / INTERNAL).is_dir():
        pictures = DatasetPictures(folder, keep)
        require_whole(pictures, folder, keep)
        return pictures
    if any(folder.glob("*.tar")):
        return TarPictures(folder, names=names, caption=caption)
    return FolderPictures(folder, names=names, caption=caption)
