"""What is particular to open_clip: names, weights, QuickGELU, towers of timm, its way with pictures."""

import json

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

from mvcap.errors import ModelUnavailableError
from training import lora
from training.backends.open_clip import Options, create
from training.student import Student


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 91, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((182, 140))


@pytest.mark.parametrize(
    "preprocess",
    [
        {},
        {"resize_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        {"resize_mode": "longest", "interpolation": "bilinear", "fill_color": 30},
    ],
)
def test_pictures_are_prepared_as_open_clip_does_it(small_open_clip, tmp_path, picture, preprocess):
    config = json.loads((small_open_clip / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": preprocess}))
    weights = small_open_clip / "open_clip_model.safetensors"
    (tmp_path / weights.name).symlink_to(weights)
    _, _, theirs = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    ours = create(Options(model=str(tmp_path))).preprocessing
    pixels = torch.from_numpy(np.array(ours.fit(picture))).permute(2, 0, 1)[None]
    assert torch.allclose(ours.normalise(pixels)[0], theirs(picture), atol=1e-6)


def test_quick_gelu_is_what_the_weights_want():
    asked = {
        (None, "openai"): True,
        (None, "laion2b_s34b_b79k"): False,
        (True, None): True,
        (False, "openai"): False,
    }
    from training.backends.open_clip import _wants_quick_gelu

    for (given, tag), expected in asked.items():
        assert _wants_quick_gelu(Options(pretrained=tag, quick_gelu=given)) == expected


def test_a_named_model_with_a_file_of_weights_saves_what_it_is(tmp_path):
    open_clip.factory._MODEL_CONFIGS["tests-tiny"] = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 64, "layers": 1},
        "text_cfg": {"context_length": 8, "width": 16, "heads": 2, "layers": 1},
    }
    try:
        save_file(open_clip.create_model("tests-tiny").state_dict(), tmp_path / "weights.safetensors")
        with pytest.raises(ModelUnavailableError, match="list_models"):
            create(Options(model="tests-tiny", pretrained=None))
        file = str(tmp_path / "weights.safetensors")
        encoder = create(Options(model="tests-tiny", pretrained=file, quick_gelu=True))
        assert any(isinstance(module, QuickGELU) for module in encoder.network.modules())
        encoder.save(tmp_path / "saved")
        loaded = create(Options(model=str(tmp_path / "saved")))
        assert any(isinstance(module, QuickGELU) for module in loaded.network.modules())
        assert encoder.identity() == {
            "backend": "open_clip",
            "model": "tests-tiny",
            "pretrained": "weights.safetensors",
        }
    finally:
        del open_clip.factory._MODEL_CONFIGS["tests-tiny"]


def test_a_name_that_nobody_knows_is_told_with_the_nearest(tmp_path):
    with pytest.raises(
        ModelUnavailableError, match=r"no folder ViT-B-23 .*did you mean 'ViT-B-32'"
    ) as caught:
        create(Options(model="ViT-B-23"))
    assert len(str(caught.value)) < 400
    with pytest.raises(ModelUnavailableError, match=f"there is no folder {tmp_path}/nothing"):
        create(Options(model=str(tmp_path / "nothing")))


def test_the_untrained_model_is_small_the_same_each_time_and_saves(tmp_path):
    one, two = (create(Options(model="untrained")) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True)
    )
    assert sum(parameter.numel() for parameter in one.network.parameters()) < 5_000_000
    one.save(tmp_path)
    loaded = create(Options(model=str(tmp_path)))
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert torch.equal(Student(one, None).embed(pixels), Student(loaded, None).embed(pixels))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2, "class_token": False, "global_pool": "map"}),
        # the one above is how SigLIP is built
        ("eva02_tiny_patch14_224", {"img_size": 28, "depth": 2}),
        ("eva_giant_patch14_224", {"img_size": 28, "depth": 2, "embed_dim": 64, "num_heads": 2}),
    ],
)
def test_towers_of_timm_are_adapted_merged_and_whole_again(name, options):
    torch.manual_seed(0)
    tower = timm.create_model(name, pretrained=False, num_classes=8, **options).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # with its own first weights attention does nothing
    keys, pixels = list(tower.state_dict()), torch.randn(2, 3, *tower.patch_embed.img_size)
    with torch.no_grad():
        before = tower(pixels)
        lora.adapt(tower, rank=2, alpha=2)
        assert torch.allclose(tower(pixels), before, atol=1e-6)
        for module in tower.modules():
            if isinstance(module, lora.LoRALinear):
                torch.nn.init.normal_(module.lora_b, std=0.1)
        tuned = tower(pixels)
        lora.merge(tower)
        assert (tower(pixels) - tuned).abs().max() < 1e-5
        assert (tuned - before).abs().max() > 1e-3
    assert list(tower.state_dict()) == keys


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "EVA02-B-16", "ViT-B-32-quickgelu"])
def test_architectures_of_the_hub_are_known(name):
    with torch.device("meta"):
        config = open_clip.get_model_config(name)
        custom = config.pop("custom_text", False)
        config["vision_cfg"].pop("timm_model_pretrained", None)
        network = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        adapted = lora.adapt(network.visual, rank=8, alpha=8)
    assert len(adapted) >= 12
