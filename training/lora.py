"""Low-rank adaptation (LoRA) of attention, and the way there and back for `nn.MultiheadAttention`.

`nn.MultiheadAttention` keeps its three projections in one bare parameter, which nothing can be put around.
So it is swapped for an attention with an explicit projection, adapted, merged and swapped back, after which
the model's keys are what they were. (PEFT 0.21 merges and unmerges its weights at every forward instead:
twice the memory traffic, and a bfloat16 weight drifts.)

Notation: B batch, T tokens, W width, R rank.
"""

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvcap.errors import UsageError

PROJECTIONS: Final = frozenset({"qkv", "q_proj", "k_proj", "v_proj", "query", "key", "value"})
"""Names of the linear layers that make queries, keys and values: `qkv` is ours after the swap, timm's and
BLIP's for pictures; those with `_proj` are CLIP's in transformers, the last three BERT's, in BLIP's texts."""
CROSS: Final = "crossattention"
"""From BLIP's texts to pictures: the features that are contrasted do without."""


class LoRALinear(nn.Module):
    """A linear layer with a trainable low-rank addition: y = W x + (alpha / R) B A x + b.

    B starts at zero, so at first nothing changes. The layer itself is frozen.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        self.scaling = alpha / rank
        nn.init.kaiming_uniform_(self.lora_a, a=5**0.5)  # as the LoRA authors' code starts

    def forward(self, x: Tensor) -> Tensor:
        low: Tensor = F.linear(F.linear(x, self.lora_a), self.lora_b)
        base: Tensor = self.base(x)
        return base + self.scaling * low

    @property
    def weight(self) -> Tensor:
        """The sum as one matrix, for those that multiply by the weight themselves (timm's EVA)."""
        return self.base.weight + self.scaling * (self.lora_b @ self.lora_a)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own."""
        return self.base.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the layer with its addition, computed in float32."""
        weight = self.base.weight
        addition = self.scaling * (self.lora_b.float() @ self.lora_a.float())
        weight.copy_((weight.float() + addition).to(weight.dtype))
        return self.base


class ExplicitAttention(nn.Module):
    """Does what an `nn.MultiheadAttention` does, to the last bit in training, with an explicit projection."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
            raise UsageError("this model's attention has no single projection for queries, keys and values")
        width, self.heads = attention.embed_dim, attention.num_heads
        self.dropout, self.batch_first = attention.dropout, attention.batch_first
        with torch.device("meta"):
            self.qkv = nn.Linear(width, 3 * width, bias=attention.in_proj_bias is not None)
        self.qkv.weight = attention.in_proj_weight
        if attention.in_proj_bias is not None:
            self.qkv.bias = attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attend from (B, T, W) to itself; the signature is that of the module it stands for."""
        if not ((key is None or key is query) and (value is None or value is query)) or need_weights:
            raise ValueError("only self-attention without weights")
        x = query if self.batch_first else query.transpose(0, 1)  # (B, T, W)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, W/H)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=attn_mask, dropout_p=self.dropout if self.training else 0.0
        )  # (B, H, T, W/H)
        found: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))  # (B, T, W)
        return (found if self.batch_first else found.transpose(0, 1)), None

    def folded(self) -> nn.MultiheadAttention:
        """Return the module that this stood for, with the present weights."""
        qkv: Any = self.qkv  # whose parameters torch's types call tensors
        with torch.device("meta"):
            attention = nn.MultiheadAttention(
                qkv.in_features,
                self.heads,
                dropout=self.dropout,
                bias=qkv.bias is not None,
                batch_first=self.batch_first,
            )
        attention.in_proj_weight = qkv.weight
        if qkv.bias is not None:
            attention.in_proj_bias = qkv.bias
        attention.out_proj = self.out_proj
        return attention.train(self.training)


def explicit_attention(tower: nn.Module) -> None:
    """Swap every `nn.MultiheadAttention` inside a tower for one with explicit projections."""
    for parent, name, module in _children(tower, nn.MultiheadAttention):
        setattr(parent, name, ExplicitAttention(module))


def adapt(tower: nn.Module, *, rank: int, alpha: float) -> list[str]:
    """Freeze a tower and give the projections of its attention low-rank additions.

    Returns:
        The names of the adapted layers.

    Raises:
        UsageError: nothing in it has a name that is known for a projection.
    """
    tower.requires_grad_(False)
    explicit_attention(tower)
    names = {id(module): name for name, module in tower.named_modules()}
    found = [
        (parent, name, module)
        for parent, name, module in _children(tower, nn.Linear)
        if name in PROJECTIONS and CROSS not in names[id(module)]
    ]
    for parent, name, module in found:
        setattr(parent, name, LoRALinear(module, rank, alpha))
    if not found:
        raise UsageError(
            f"no attention to adapt in a {type(tower).__name__}: it has no nn.MultiheadAttention and no "
            f"linear layer named {', '.join(sorted(PROJECTIONS))}; tune it whole (full) or leave it (frozen)"
        )
    return [names[id(module)] for _, _, module in found]


def merge(tower: nn.Module) -> None:
    """Add all low-rank additions to their layers and swap the attention back: the keys are stock again."""
    for parent, name, module in _children(tower, LoRALinear):
        setattr(parent, name, module.merged())
    for parent, name, module in _children(tower, ExplicitAttention):
        setattr(parent, name, module.folded())


def _children(tower: nn.Module, kind: type[Any]) -> Iterator[tuple[nn.Module, str, Any]]:
    """List (parent, name, module) of each module of a kind, once each, before anything is swapped."""
    found = [
        (parent, name, module)
        for parent in tower.modules()
        for name, module in parent.named_children()
        if isinstance(module, kind)
    ]
    yield from found
