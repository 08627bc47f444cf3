"""Which objects of a finished dataset may be learnt from."""

from mvcap.config import TRAINING
from mvcap.errors import OutputError
from mvcap.places import Place
from mvcap.schema import OBJECTS
from mvcap.tables import read_table


def learnable_uids(dataset: Place, *, lookalikes: bool = True) -> set[str]:
    """Return the training objects that do not look like one of another split.

    Args:
        lookalikes: keep those that look like another training object.

    Raises:
        OutputError: the folder holds no finished dataset.
    """
    try:
        rows = read_table(dataset / OBJECTS).to_pylist()
    except FileNotFoundError as error:
        raise OutputError(
            f"{dataset} is not a finished dataset: it has no objects.parquet; give what a finished `mvcap "
            "build-all` wrote"
        ) from error
    return {  # a dataset of schema 3 has no columns of duplicates
        row["uid"]
        for row in rows
        if row["split"] == TRAINING
        and (row.get("duplicate_of") is None or (lookalikes and row["duplicate_split"] == TRAINING))
    }
