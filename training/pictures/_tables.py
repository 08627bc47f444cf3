"""Tables of pictures that are objects of their own and have a label."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.pictures import UNKNOWN, PictureTable


def labelled_table(
    labels: Sequence[str | None], names: Mapping[str, str], caption: str | None
) -> PictureTable:
    """Make a table of one label a picture; two labels of the same name stay two categories.

    Args:
        names: of each label, in the order of the categories.
        caption: a sentence with `{}` for the name; None gives no captions.
    """
    number = {label: index for index, label in enumerate(names)}
    index = np.array([UNKNOWN if label is None else number[label] for label in labels], np.int32)
    nothing = np.full(len(labels), np.nan, np.float32)
    return PictureTable(
        object_index=np.arange(len(labels), dtype=np.int32),
        categories=tuple(names.values()),
        category_index=index,
        captions=[caption.format(name) for name in names.values()] if caption else [],
        caption_index=index if caption else np.full(len(labels), UNKNOWN, np.int32),
        azimuth_deg=nothing,
        elevation_deg=nothing,
    )
