"""The published embeddings of Objaverse by OpenShape (NeurIPS 2023), on the hub.

They are `{"us": [uid, ...], "feats": (N, 1280) int8}`, not normalised. The other side is the text tower of
OpenCLIP ViT-bigG-14 `laion2b_s39b_b160k`, averaged over templates.
"""

from pathlib import Path
from typing import Final

from mvcap.downloads import HubDataset, require_room
from mvcap.errors import EmbeddingsError
from mvcap.files import cache_folder

DATASET: Final = "OpenShape/openshape-objaverse-embeddings"
FILE: Final = "objaverse.pt"

ENCODERS: Final = {
    512: "ViT-B-32 or ViT-B-16",
    768: "ViT-L-14",
    1024: "ViT-H-14 or ViT-g-14",
    1280: "ViT-bigG-14 laion2b_s39b_b160k",
}
"""Dimension -> models of OpenCLIP that have it."""


def fetch_embeddings() -> Path:
    """Return the published file, from the cache or else from the hub (1.06 GB).

    Raises:
        MvcapError: the hub does not give it, or it does not fit on the disk.
    """
    target = cache_folder() / "openshape" / FILE
    if not target.exists():
        dataset = HubDataset(DATASET)
        size = dataset.metadata(FILE).size or 0
        require_room(target.parent, size, f"fetching {FILE} of {DATASET}")
        dataset.fetch(FILE, target, quiet=False)
    return target


def require_fit(objects: int, categories: int) -> None:
    """Refuse to compare what different encoders made.

    Args:
        objects: dimensions of the object embeddings.
        categories: dimensions of the category vectors.

    Raises:
        EmbeddingsError: they differ; the message says which encoder fits.
    """
    if objects != categories:
        fits, has = (ENCODERS.get(count, "an unknown model") for count in (objects, categories))
        raise EmbeddingsError(
            f"the objects' embeddings have {objects} dimensions and the category vectors {categories}: take "
            f"vectors of {fits} instead of {has} (filter.model, filter.pretrained, or --category-vectors)"
        )
