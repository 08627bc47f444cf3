"""What pages and cards are titled."""

from pathlib import Path

from mvcap.config import UNNAMED
from mvcap.places import Place


def title_of(name: str, place: Place) -> str:
    """Return a recipe's name, or the folder's where the recipe has none; of a whole bucket, the bucket's."""
    if name != UNNAMED:
        return name
    if isinstance(place, Path):
        return place.resolve().name or name
    return place.name or place.bucket
