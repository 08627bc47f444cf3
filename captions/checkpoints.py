"""Find a model's files: a local folder, or a snapshot in the hub's cache, which is a folder too.

Nothing here loads a model or reads a pickle.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from captions.hub import cached_snapshot, download_snapshot, list_accessible_files, model_url
from mvcap.errors import ModelUnavailableError
from mvcap.files import sha256_of

EXAMPLE: Final = "Salesforce/instructblip-flan-t5-xl"

QFORMER_TOKENIZER: Final = "qformer_tokenizer"
"""Subfolder in which `InstructBlipProcessor` keeps its second tokenizer."""

NEEDED_FILES: Final = {
    "config.json": {"config.json"},
    "model.safetensors": {"model.safetensors", "model.safetensors.index.json"},
    "preprocessor_config.json": {"preprocessor_config.json", "processor_config.json"},
    "tokenizer.json": {"tokenizer.json", "spiece.model"},
    f"{QFORMER_TOKENIZER}/tokenizer.json": {
        f"{QFORMER_TOKENIZER}/tokenizer.json",
        f"{QFORMER_TOKENIZER}/vocab.txt",
    },
}
"""Usual name of each needed file -> the names under which transformers finds it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes a folder a model that a captioner can load."""

    needed_files: Mapping[str, Collection[str]]
    require_architecture: Callable[[Mapping[str, Any], str], None]
    """Given `config.json` and the model's name; raises `ModelUnavailableError` for another one."""


def _require_instructblip(config: Mapping[str, Any], model: str) -> None:
    """Refuse other architectures, and language models without an encoder: those need left padding."""
    kind, language_model = config.get("model_type"), (config.get("text_config") or {}).get("model_type")
    if (kind, language_model) != ("instructblip", "t5"):
        raise ModelUnavailableError(
            f"the model {model} is of type {kind!r} with language model {language_model!r}; the captioner "
            f"takes InstructBLIP models with a T5, such as {EXAMPLE}"
        )


INSTRUCTBLIP: Final = Kind(NEEDED_FILES, _require_instructblip)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with a complete model."""

    folder: Path
    name: str
    """Name on the hub, or the folder's own name: never a machine's path."""
    commit: str | None
    """Commit of the hub's repository; None for a local folder."""


def find_checkpoint(model: str, revision: str | None, kind: Kind = INSTRUCTBLIP) -> Checkpoint:
    """Return a model's folder, downloading it where it is neither local nor completely cached.

    A complete snapshot in the cache is used without asking the hub whether the branch has moved, so
    that workers that start at different times load the same weights.

    Raises:
        ModelUnavailableError: as `check_model` does, or the download failed.
    """
    if folder := local_folder(model):
        require_complete(folder, model, kind)
        return Checkpoint(folder, folder.name, None)
    snapshot = _complete_snapshot(model, revision, kind) or download_snapshot(model, revision)
    if missing_files(snapshot, kind):
        check_model(model, revision, kind=kind)  # knows why the hub gave no more
    require_complete(snapshot, model, kind)
    return Checkpoint(snapshot, model, snapshot.name)


def check_model(
    model: str, revision: str | None, *, kind: Kind = INSTRUCTBLIP, endpoint: str | None = None
) -> None:
    """Make sure that a model can be had, in seconds and without downloading or loading its weights.

    Args:
        kind: what it has to be.
        endpoint: URL of the hub; None means `HF_ENDPOINT`, else the public one.

    Raises:
        ModelUnavailableError: an incomplete folder; or nothing complete in the cache, and a hub that
            does not give the model, or not as safetensors. The message says what to do.
    """
    if folder := local_folder(model):
        require_complete(folder, model, kind)
    elif snapshot := _complete_snapshot(model, revision, kind):
        require_complete(snapshot, model, kind)
    else:
        files = list_accessible_files(model, revision, endpoint=endpoint)
        if missing := _missing_names(files, kind):
            raise _incomplete(f"repository {model_url(model, endpoint)}", missing, files)


def local_folder(model: str) -> Path | None:
    """Return the folder that `model` names, or None where it is a name on the hub.

    Raises:
        ModelUnavailableError: it is neither.
    """
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return folder.resolve()
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", model):
        return None
    raise ModelUnavailableError(
        f"model={model!r} is neither a folder on this machine nor a name on the hub such as {EXAMPLE!r}"
    )


def require_complete(folder: Path, model: str, kind: Kind = INSTRUCTBLIP) -> None:
    """Raise `ModelUnavailableError` where a folder is not a complete checkpoint of a kind."""
    if missing := missing_files(folder, kind):
        raise _incomplete(f"model folder {model}", missing, [path.name for path in folder.iterdir()])
    config = _read_json(folder / "config.json")
    kind.require_architecture(config, model)
    _require_safetensors(folder, config, model)
    _require_whole(folder, model)


def missing_files(folder: Path, kind: Kind = INSTRUCTBLIP) -> list[str]:
    """Name the files that a folder lacks, shards of the weights included."""
    names = {path.name for path in folder.glob("*") if path.is_file()}
    names |= {f"{QFORMER_TOKENIZER}/{path.name}" for path in folder.glob(f"{QFORMER_TOKENIZER}/*")}
    return _missing_names(names, kind) + sorted(_named_shards(folder) - names)


def weights_sha256(folder: Path) -> str:
    """Hash the safetensors weights: a single file's SHA-256, or that of the list of several files'."""
    digests = [(sha256_of(path), path.name) for path in sorted(folder.glob("*.safetensors"))]
    if len(digests) == 1:
        return digests[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()


def _complete_snapshot(model: str, revision: str | None, kind: Kind) -> Path | None:
    snapshot = cached_snapshot(model, revision)
    return None if snapshot is None or missing_files(snapshot, kind) else snapshot


def _missing_names(names: Collection[str], kind: Kind) -> list[str]:
    return [usual for usual, any_of in kind.needed_files.items() if set(any_of).isdisjoint(names)]


def _named_shards(folder: Path) -> set[str]:
    """Read which files the index of sharded weights names; none where one file holds them all."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return set()
    return {str(name) for name in dict(_read_json(index).get("weight_map", {})).values()}


def _incomplete(where: str, missing: list[str], names: Collection[str]) -> ModelUnavailableError:
    pickles = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    remark = f" ({pickles[0]} is a pickle, which mvcap never loads)" if pickles else ""
    return ModelUnavailableError(
        f"the {where} lacks {', '.join(missing)}{remark}.\n"
        f"A folder such as `hf download {EXAMPLE} --local-dir FOLDER` leaves holds all that is needed."
    )


def _require_whole(folder: Path, model: str) -> None:
    """Refuse weights whose file is shorter than its own header says, as an ended copy leaves them."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelUnavailableError(
                f"{path.name} of the model {model} is damaged or cut off ({error}); copy it again"
            ) from error


def _require_safetensors(folder: Path, config: dict[str, Any], model: str) -> None:
    """Refuse the roundabout ways in which a folder can make transformers read another file, which may
    be a pickle: shards of other kinds, a file named in the config, an adapter."""
    odd_shards = [name for name in _named_shards(folder) if not re.fullmatch(r"[\w.-]+\.safetensors", name)]
    if odd_shards or config.get("transformers_weights") or (folder / "adapter_config.json").exists():
        raise ModelUnavailableError(
            f"the model {model} does not keep all its weights in model.safetensors or its shards "
            f"(found {sorted(odd_shards) or 'an adapter or a reference to another file'}); load it with "
            "transformers, merge adapters, and write it with `save_pretrained`"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"the model file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelUnavailableError(f"the model file {path} does not hold a JSON object")
    return content
