"""Vectors of categories and of pictures by a CLIP that open_clip loads."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mvcap import files
from mvcap.embeddings.vectors import CategoryVectors, read_vectors, write_vectors
from mvcap.errors import ModelUnavailableError
from mvcap.hub import what_went_wrong
from mvcap.plugins import missing_extra

Templates: TypeAlias = Literal["openai", "plain"]
"""`openai`: the 80 sentences that CLIP was evaluated with on ImageNet; `plain`: "a photo of a {}." """

CATEGORIES_AT_ONCE: Final = 8
"""Each is a sentence for each template."""
LOCAL_FOLDER: Final = "local-dir:"
"""Prefix by which open_clip knows a folder with `open_clip_config.json` and weights."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A CLIP by name; it is loaded where it is needed."""

    model: str
    """A name of open_clip's, or a folder that its `local-dir:` takes."""
    pretrained: str | None
    """A tag of open_clip's, or a checkpoint file; None for a folder."""

    @property
    def name(self) -> str:
        """open_clip's own name of the model."""
        folder = Path(self.model).expanduser()
        return f"{LOCAL_FOLDER}{folder.absolute()}" if folder.is_dir() else self.model

    def identity(self) -> str:
        """Tell weights apart: local ones by their content, others by their tag."""
        local = [Path(part).expanduser() for part in (self.model, self.pretrained or "") if part]
        digests = [_digest(path) for path in local if path.exists()]
        return " ".join([Path(self.model).name, Path(self.pretrained or "").name, *digests])

    def load(self) -> "LoadedEncoder":
        """Load the weights, on a GPU where there is one.

        Raises:
            MissingExtraError: open_clip is not installed.
            ModelUnavailableError: there is no such model, or it cannot be had.
        """
        open_clip, torch = _libraries()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                self.name, pretrained=self.pretrained, device=device, require_pretrained=True
            )
            tokenizer = open_clip.get_tokenizer(self.name)
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            reason = what_went_wrong(error, f"the model {self.model} {self.pretrained or ''}", None)
            raise ModelUnavailableError(
                f"{reason}\nopen_clip cannot load it; filter.model and filter.pretrained name a model of "
                "open_clip's and its weights, or local ones. Category vectors that were made elsewhere are "
                "taken by --category-vectors."
            ) from error
        return LoadedEncoder(model.eval(), preprocess, tokenizer, device)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """A CLIP in memory."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: str

    def encode_categories(self, names: Sequence[str], templates: Templates) -> NDArray[np.float32]:
        """Return (C, D) unit-norm: of each name the mean over the templates of unit-norm vectors."""
        open_clip, _ = _libraries()
        classifier = open_clip.build_zero_shot_classifier(
            self.model,
            tokenizer=self.tokenizer,
            classnames=list(names),
            templates=_sentences(templates),
            num_classes_per_batch=CATEGORIES_AT_ONCE,
            device=self.device,
        )  # (D, C)
        vectors: NDArray[np.float32] = classifier.T.float().cpu().numpy()
        return np.ascontiguousarray(vectors)

    def encode_pictures(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """Return (D,) unit-norm: the mean of the unit-norm vectors of encoded pictures."""
        from PIL import Image

        _, torch = _libraries()
        batch = torch.stack(
            [self.preprocess(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures]
        )
        with torch.inference_mode():
            features = self.model.encode_image(batch.to(self.device), normalize=True)  # (V, D)
            mean = torch.nn.functional.normalize(features.mean(dim=0), dim=0)  # (D,)
        vector: NDArray[np.float32] = mean.float().cpu().numpy()
        return vector


def category_vectors(
    names: Sequence[str], encoder: Encoder, templates: Templates, *, meanings: Sequence[str] | None = None
) -> CategoryVectors:
    """Return the vectors of categories, made once for each list, encoder and templates.

    Args:
        meanings: words to encode instead of each name, such as "ram (adult male sheep)" for "ram".

    Raises:
        MissingExtraError: open_clip is not installed.
        ModelUnavailableError: the encoder cannot be had.
    """
    words = names if meanings is None else meanings
    content = "\0".join([encoder.identity(), templates, *names, *words])
    key = hashlib.sha256(content.encode()).hexdigest()[:32]
    kept = files.cache_folder() / "category-vectors" / f"{key}.safetensors"
    if not kept.exists():
        vectors = encoder.load().encode_categories(words, templates)
        write_vectors(kept, CategoryVectors(tuple(names), vectors))
    return read_vectors(kept, names)


def imagenet_labels() -> list[str]:
    """List the names of the ImageNet-1K classes that CLIP is evaluated with; two stand twice.

    Raises:
        MissingExtraError: open_clip is not installed, which holds them.
    """
    return list(_libraries()[0].IMAGENET_CLASSNAMES)


def _sentences(templates: Templates) -> list[Any]:
    if templates == "plain":
        return ["a photo of a {}."]
    return list(_libraries()[0].OPENAI_IMAGENET_TEMPLATES)


def _libraries() -> tuple[Any, Any]:
    try:
        import open_clip
        import torch
    except ModuleNotFoundError as error:
        raise missing_extra("making category vectors", error) from error
    return open_clip, torch


def _digest(path: Path) -> str:
    """Hash a file, or the files of a folder."""
    if path.is_file():
        return files.sha256_of(path)
    parts = [f"{each.name} {files.sha256_of(each)}" for each in sorted(path.iterdir()) if each.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
