"""The CLIP score of a caption: the cosine of picture and text, by any CLIP that transformers loads.

CLIPScore (EMNLP 2021) is `2.5 * max(cosine, 0)` of the same cosine; the plain one keeps its sign. Scores of
different views are not comparable: CLIP itself fails on unusual ones. See `captions.percentiles`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from captions.captioner import Json
from captions.checkpoints import local_folder, weights_sha256
from captions.hub import cached_snapshot, download_snapshot, list_accessible_files, model_url
from mvcap.errors import ModelUnavailableError
from mvcap.quiet import quiet_transformers

EXAMPLE: Final = "openai/clip-vit-large-patch14"
WEIGHTS: Final = frozenset({"model.safetensors", "model.safetensors.index.json"})

DECIMALS: Final = 4
"""The last bits of a score depend on the batch; these do not."""


def check_clip(model: str, revision: str | None) -> None:
    """Make sure in seconds, without loading it, that a CLIP can be had.

    Raises:
        ModelUnavailableError: a folder or repository without config or safetensors, or no access to it.
    """
    if folder := local_folder(model) or cached_snapshot(model, revision):
        names = {path.name for path in folder.iterdir()}
        if local_folder(model) or not WEIGHTS.isdisjoint(names):
            _require_weights(names, f"folder {model}")
            return
    _require_weights(set(list_accessible_files(model, revision)), f"repository {model_url(model)}")


def load_clip(model: str, revision: str | None) -> "ClipScorer":
    """Load a CLIP, downloading it first where it is on the hub only; on a GPU where there is one.

    Raises:
        ModelUnavailableError: as `check_clip` does, or it is no CLIP.
    """
    check_clip(model, revision)
    if folder := local_folder(model):
        return ClipScorer(folder, folder.name, None)
    snapshot = download_snapshot(model, revision)
    return ClipScorer(snapshot, model, snapshot.name)


class ClipScorer:
    """A loaded CLIP in float32; see `captions.scoring.Scorer`.

    Args:
        folder: with the whole checkpoint.
        name: told as the model's name, never a machine's path.
        commit: of the hub's repository; None for a local folder.
    """

    def __init__(self, folder: Path, name: str, commit: str | None) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Any = _load_model(folder, name).to(self._device)
        load: Any = CLIPProcessor.from_pretrained
        self._processor = load(folder, local_files_only=True, trust_remote_code=False, backend="pil")
        self._longest: int = self._model.config.text_config.max_position_embeddings
        self._identity: dict[str, Json] = {
            "model": name,
            "commit": commit,
            "weights_sha256": None if commit else weights_sha256(folder),
            "device": self._device.type,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        }

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._identity

    def score(self, images: Sequence[Image.Image], captions: Sequence[str]) -> list[float]:
        """Return the cosine in [-1, 1] of each RGB picture with its own caption."""
        # All texts are padded alike, so that a score does not depend on the other captions of its batch.
        inputs = self._processor(
            images=list(images),
            text=list(captions),
            padding="max_length",
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        cosines = (outputs.image_embeds * outputs.text_embeds).sum(dim=-1)  # (B,), both are unit-norm
        return [round(cosine, DECIMALS) for cosine in cosines.tolist()]

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _load_model(folder: Path, name: str) -> Any:
    """Load the weights, which must be safetensors and complete: transformers fills gaps with noise."""
    load: Any = CLIPModel.from_pretrained
    try:
        with quiet_transformers():
            model, report = load(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelUnavailableError(f"the model {name} cannot be loaded as a CLIP: {error}") from error
    if gaps := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise ModelUnavailableError(
            f"the model {name} is no CLIP: it lacks {len(gaps)} weights, such as {gaps[0]}"
        )
    return model.eval()


def _require_weights(names: set[str], where: str) -> None:
    if "config.json" not in names or WEIGHTS.isdisjoint(names):
        raise ModelUnavailableError(
            f"the {where} of captions.clip.model lacks config.json or model.safetensors; pickles are never "
            f"loaded. `hf download {EXAMPLE} --local-dir FOLDER` leaves all that is needed."
        )
