"""Build captioned multi-view datasets from 3D objects, and tune vision-language models with them.

`mvcap.open("my_dataset")` reads a dataset: see `mvcap.dataset.Dataset`.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mvcap.dataset import Dataset

__version__ = "0.1.0"


def open(folder: "str | PathLike[str]") -> "Dataset":
    """Open a dataset, finished or still being built, by what is committed of it now.

    Raises:
        OutputError: the folder holds no dataset.
        CorruptDatasetError: its plan or its list of objects is damaged.
    """
    from mvcap.dataset import open_dataset  # here, so that `import mvcap` costs nothing

    return open_dataset(folder)
