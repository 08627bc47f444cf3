"""Shared by all tests: one thread for each library, and small folders of real models."""

import json
import os
import runpy
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub starts its own

from mvcap import plugins, recipes
from mvcap.config import Config

TETRAHEDRON = """\
v 0 0 0
v 1 0 0
v 0 1 0
v 0 0 1
f 1 3 2
f 1 2 4
f 2 3 4
f 1 4 3
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, and all files that start Ray on another, one after the other.

    Two clusters at once would take each other's ports. Theirs is the longest part, so it comes first.
    pytest-xdist reads the marks in a hook of the same name, hence before it.
    """
    starts_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in starts_ray)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.path in starts_ray else item.location[0]))


@pytest.fixture
def openai_server() -> Iterator[Any]:
    """A server of `tests/doubles/openai_server.py`, whose faults prompts ask for."""
    with runpy.run_path(str(Path(__file__).with_name("doubles") / "openai_server.py"))["start"]() as server:
        yield server


@pytest.fixture(scope="session")
def hub_double() -> SimpleNamespace:
    """What `tests/doubles/hub_server.py` holds: the faults among others."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("doubles") / "hub_server.py")))


@pytest.fixture
def hub(hub_double: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub that `HF_ENDPOINT` names, for this process too; it serves what lies in `hub.root`."""
    from huggingface_hub import constants

    (tmp_path / "hub").mkdir()
    with hub_double.start(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


@pytest.fixture(scope="session")
def s3_double() -> SimpleNamespace:
    """What `tests/doubles/s3_server.py` holds."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("doubles") / "s3_server.py")))


@pytest.fixture(scope="session")
def _s3_server(s3_double: SimpleNamespace) -> Iterator[Any]:
    with s3_double.start() as server:
        yield server


@pytest.fixture(scope="session")
def s3_environment(_s3_server: Any, s3_double: SimpleNamespace) -> dict[str, str]:
    """What leads to that server, and to no other."""
    return {
        "AWS_ACCESS_KEY_ID": s3_double.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": s3_double.SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": _s3_server.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def s3(_s3_server: Any, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """S3 with an empty bucket `s3.bucket`, which the environment leads to, for this process too."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    _s3_server.make_bucket(f"bucket-{uuid4().hex[:8]}")
    yield _s3_server
    _s3_server.faults.clear()
    _s3_server.list_lag_s, _s3_server.torn, _s3_server.uploads_listed = 0.0, 0, 1000


@pytest.fixture(scope="session")
def objaverse_double() -> SimpleNamespace:
    """What `tests/doubles/objaverse.py` holds: `Thing`, and `write`, which makes an Objaverse of things."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("doubles") / "objaverse.py")))


@pytest.fixture(scope="session")
def build_llava() -> Callable[..., Path]:
    """Write the small LLaVA of `tests/doubles/llava.py` to a folder; its captions mean nothing."""
    build: Callable[..., Path] = runpy.run_path(str(Path(__file__).with_name("doubles") / "llava.py"))[
        "build"
    ]
    return build


@pytest.fixture(scope="session")
def write_models() -> Callable[..., Path]:
    """Write tetrahedra (OBJ) to a folder, one file for each name, no two of the same bytes."""

    def write(folder: Path, *names: str) -> Path:
        for name in names:
            path = folder / f"{name}.obj"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {name}\n{TETRAHEDRON}")
        return folder

    return write


@pytest.fixture
def models(tmp_path: Path, write_models: Callable[..., Path]) -> Callable[..., Path]:
    """Make a folder of tetrahedra (OBJ), one file for each name, no two of the same bytes."""
    return partial(write_models, tmp_path / "models")


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a CLIP with random weights, in the architecture of the real ones; not to be changed."""
    import torch
    import transformers

    library: Any = transformers  # which types its constructors only in part
    characters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    words = [*characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = library.CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    pictures = library.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**shape, **tokens, "vocab_size": len(words), "max_position_embeddings": 24}
    config = library.CLIPConfig(
        text_config=text, vision_config={**shape, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        library.CLIPModel(config).save_pretrained(folder)
    library.CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BLIP for retrieval with random weights; not to be changed."""
    import torch
    import transformers

    library: Any = transformers
    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz,"]
    words += [f"##{one}" for one in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = library.BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    pictures = library.BlipImageProcessorPil(size={"height": 32, "width": 32})
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**shape, "vocab_size": len(words), "max_position_embeddings": 24, "encoder_hidden_size": 32}
    vision = {**shape, "image_size": 32, "patch_size": 8}
    config = library.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = library.BlipForImageTextRetrieval(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # its own first weights tell nothing apart
    for part in (model, tokenizer, pictures):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an open_clip model with random weights, as open_clip's `local-dir:` takes it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    shape = {"width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1}
    config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": {"context_length": 24, **shape}}
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # at its own first weights all texts are alike
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def fake_config() -> Callable[..., Config]:
    """Make a configuration with the fake renderer and captioner over a folder of models."""

    def make(folder: Path, **changes: Any) -> Config:
        settings: dict[str, Any] = {
            "sources": [{"source": "folder", "options": {"path": str(folder)}}],
            "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
            "render": {"backend": "fake", "views": 3, "resolution": 32},
            "captions": {"backend": "fake", "synonyms": "table"},
            "run": {"render_workers": 1, "caption_workers": 1},
        }
        assignments = [f"{path.replace('__', '.')}={value}" for path, value in changes.items()]
        return recipes.build_config(recipes.apply_overrides(settings, assignments), plugins.options_model)

    return make


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
