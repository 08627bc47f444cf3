"""LoRA on attention: nothing changes at first, merging keeps the function, folding keeps the keys."""

import copy
from functools import cache

import open_clip
import pytest
import torch
from torch import nn

from mvcap.errors import UsageError
from training.backends import blip
from training.lora import ExplicitAttention, LoRALinear, adapt, explicit_attention, merge
from training.viformer import VIFormer

LAYERS, WIDTH, PATCHES = 2, 64, 32


@cache
def _tower():
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 8, "width": WIDTH, "layers": LAYERS, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CLIP(12, vision, text).visual


@pytest.fixture
def tower():
    return copy.deepcopy(_tower()).train()


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def trained(tower):
    """Give the additions values, as training would."""
    torch.manual_seed(2)
    for module in tower.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_b, std=0.05)
    return tower


def test_texts_of_blip_are_adapted_where_they_attend_to_themselves(small_blip):
    tower = blip.create(blip.Options(model=str(small_blip))).text_tower.attention
    own = ("query", "key", "value")
    expected = {f"encoder.layer.{layer}.attention.self.{name}" for layer in (0, 1) for name in own}
    assert set(adapt(tower, rank=2, alpha=2)) == expected


def test_explicit_projections_are_bit_identical(tower, pixels):
    before = tower(pixels)
    explicit_attention(tower)
    assert sum(isinstance(module, ExplicitAttention) for module in tower.modules()) == LAYERS
    assert torch.equal(tower(pixels), before)


def test_so_they_are_with_a_mask_and_tokens_first():
    torch.manual_seed(0)
    stock = nn.MultiheadAttention(16, 2, batch_first=False)
    x, mask = torch.randn(5, 3, 16), torch.full((5, 5), -torch.inf).triu(1)
    expected, _ = stock(x, x, x, need_weights=False, attn_mask=mask)
    found, _ = ExplicitAttention(stock)(x, x, x, need_weights=False, attn_mask=mask)
    assert torch.equal(found, expected)


def test_adapting_changes_nothing_at_first_and_trains_the_additions_alone(tower, pixels):
    before = tower(pixels)
    names = adapt(tower, rank=4, alpha=4)
    assert names == [f"transformer.resblocks.{layer}.attn.qkv" for layer in range(LAYERS)]
    after = tower(pixels)
    assert torch.equal(after, before)
    after.sum().backward()
    trainable = {name: p for name, p in tower.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trainable)
    assert sum(p.numel() for p in trainable.values()) == LAYERS * 4 * (WIDTH + 3 * WIDTH)
    assert all(p.grad.abs().sum() > 0 for name, p in trainable.items() if "lora_b" in name)


def test_merged_and_folded_it_is_a_stock_tower_with_the_same_output(tower, pixels):
    stock = tower.state_dict()
    keys, old = list(stock), {name: value.clone() for name, value in stock.items()}
    adapt(tower, rank=4, alpha=8)
    trained_output = trained(tower)(pixels).detach()
    merge(tower)
    found = tower.state_dict()
    assert list(found) == keys
    assert (tower(pixels) - trained_output).abs().max() < 1e-5
    changed = {name for name in keys if not torch.equal(found[name], old[name])}
    assert changed == {f"transformer.resblocks.{layer}.attn.in_proj_weight" for layer in range(LAYERS)}
    fresh = copy.deepcopy(_tower()).requires_grad_(False)
    fresh.load_state_dict(found)
    assert torch.equal(fresh.train()(pixels), tower(pixels))


def test_the_addition_is_scaled_by_alpha_over_rank():
    layer = LoRALinear(nn.Linear(3, 2), rank=2, alpha=6)
    nn.init.constant_(layer.lora_a, 1.0)
    nn.init.constant_(layer.lora_b, 0.5)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.allclose(layer(x), layer.base(x) + 3 * 2 * 0.5 * 6)  # alpha/R, R ranks, B, A x
    expected = layer(x)
    assert torch.allclose(layer.merged()(x), expected)


def test_a_tower_without_attention_is_refused_by_name():
    with pytest.raises(UsageError, match=r"Sequential.*tune it whole"):
        adapt(nn.Sequential(nn.Linear(2, 2)), rank=1, alpha=1)


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [("ViT-B-32", 512, 6_599_681), ("ViT-B-16", 512, 6_599_681), ("ViT-L-14", 768, 11_814_401)],
)
def test_as_many_parameters_are_trainable_as_in_the_paper(name, width, expected):
    with torch.device("meta"):  # shapes without memory
        model = open_clip.CLIP(**open_clip.get_model_config(name))
        model.requires_grad_(False)
        adapt(model.visual, rank=8, alpha=8)
        former = VIFormer(width)
    trainable = [*model.parameters(), *former.parameters()]
    counted = sum(p.numel() for p in trainable if p.requires_grad)
    assert counted + model.logit_scale.numel() == expected
