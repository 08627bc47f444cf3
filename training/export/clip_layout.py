"""From open_clip's layout of a CLIP to transformers': names, transposed projections, split attention."""

from collections.abc import Iterator
from typing import Any

import open_clip
import transformers
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from mvcap.errors import UsageError
from training.dual_encoder import DualEncoder, Preprocessing

BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""Parts of a transformer's block whose tensors have the same shapes in both."""


def to_transformers(encoder: DualEncoder) -> tuple[Any, tuple[Any, ...]]:
    """Return a CLIPModel with the weights of an open_clip model, and its tokenizer and image processor.

    Raises:
        UsageError: the model has parts that CLIPModel has not.
    """
    network: Any = encoder.network
    require_plain_clip(network)
    library: Any = transformers
    tokenizer = _tokenizer(network.context_length)
    config = library.CLIPConfig(
        vision_config=_vision_config(network, encoder.preprocessing),
        text_config=_text_config(network, tokenizer),
        projection_dim=encoder.width,
    )
    converted = library.CLIPModel(config)
    converted.load_state_dict(dict(_renamed(network)))
    return converted.eval(), (tokenizer, _image_processor(encoder.preprocessing))


def require_plain_clip(network: Any) -> None:
    """Refuse what transformers' CLIPModel cannot hold.

    Raises:
        UsageError: the message names what.
    """
    visual = network.visual
    problems = []
    if type(network) is not open_clip.CLIP or not isinstance(visual, VisionTransformer):
        problems.append(f"its towers are {type(network).__name__} and {type(visual).__name__}")
    else:
        blocks = [*visual.transformer.resblocks, *network.transformer.resblocks]
        checks = {
            "its picture is not pooled from the class token": visual.pool_type != "tok" or visual.attn_pool,
            "it has no norm before the transformer": isinstance(visual.ln_pre, nn.Identity),
            "its text is not pooled at the last token": network.text_pool_type != "argmax",
            "its text has no plain projection": not isinstance(network.text_projection, nn.Parameter),
            "it scales its layers": any(not isinstance(block.ls_1, nn.Identity) for block in blocks),
            "its attention is another": any(not isinstance(b.attn, nn.MultiheadAttention) for b in blocks),
        }
        problems += [problem for problem, found in checks.items() if found]
    if problems:
        raise UsageError(
            f"transformers' CLIPModel cannot hold this model: {'; '.join(problems)}. --format open_clip can"
        )


def _vision_config(network: Any, preprocessing: Preprocessing) -> dict[str, Any]:
    visual = network.visual
    return {
        **_transformer_config(visual.transformer),
        "image_size": preprocessing.size,
        "patch_size": visual.patch_size[0],
        "layer_norm_eps": visual.ln_post.eps,
    }


def _text_config(network: Any, tokenizer: Any) -> dict[str, Any]:
    return {
        **_transformer_config(network.transformer),
        "vocab_size": network.token_embedding.num_embeddings,
        "max_position_embeddings": len(network.positional_embedding),
        "layer_norm_eps": network.ln_final.eps,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _transformer_config(transformer: Any) -> dict[str, Any]:
    block = transformer.resblocks[0]
    tanh = getattr(block.mlp.gelu, "approximate", "none") == "tanh"
    activation = "gelu_pytorch_tanh" if tanh else "gelu"
    return {
        "hidden_size": block.attn.embed_dim,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.c_fc.out_features,
        "hidden_act": "quick_gelu" if isinstance(block.mlp.gelu, QuickGELU) else activation,
    }


def _renamed(network: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor under its name in a CLIPModel."""
    visual = network.visual
    yield "logit_scale", network.logit_scale.detach().reshape(())
    yield "vision_model.embeddings.class_embedding", visual.class_embedding
    yield "vision_model.embeddings.patch_embedding.weight", visual.conv1.weight
    yield "vision_model.embeddings.position_embedding.weight", visual.positional_embedding
    yield from _norm("vision_model.pre_layrnorm", visual.ln_pre)  # transformers' own spelling
    yield from _norm("vision_model.post_layernorm", visual.ln_post)
    yield from _blocks("vision_model.encoder.layers", visual.transformer)
    yield "visual_projection.weight", visual.proj.T.contiguous()
    yield "text_model.embeddings.token_embedding.weight", network.token_embedding.weight
    yield "text_model.embeddings.position_embedding.weight", network.positional_embedding
    yield from _norm("text_model.final_layer_norm", network.ln_final)
    yield from _blocks("text_model.encoder.layers", network.transformer)
    yield "text_projection.weight", network.text_projection.T.contiguous()


def _norm(name: str, norm: Any) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", norm.weight
    yield f"{name}.bias", norm.bias


def _blocks(name: str, transformer: Any) -> Iterator[tuple[str, Tensor]]:
    for index, block in enumerate(transformer.resblocks):
        for ours, theirs in BLOCK.items():
            part = block.get_submodule(ours)
            yield f"{name}.{index}.{theirs}.weight", part.weight
            yield f"{name}.{index}.{theirs}.bias", part.bias
        weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
        for letter, weight, bias in zip("qkv", weights, biases, strict=True):
            yield f"{name}.{index}.self_attn.{letter}_proj.weight", weight
            yield f"{name}.{index}.self_attn.{letter}_proj.bias", bias


def _tokenizer(length: int) -> Any:
    """Make transformers' tokenizer of open_clip's words; only what comes after a text's end differs."""
    ours = open_clip.SimpleTokenizer()
    merges = sorted(ours.bpe_ranks, key=ours.bpe_ranks.__getitem__)
    library: Any = transformers
    words = {
        word.replace("<start_of_text>", "<|startoftext|>"): index for word, index in ours.encoder.items()
    }
    words = {word.replace("<end_of_text>", "<|endoftext|>"): index for word, index in words.items()}
    return library.CLIPTokenizer(vocab=words, merges=merges, model_max_length=length)


def _image_processor(preprocessing: Preprocessing) -> Any:
    library: Any = transformers
    side = preprocessing.size
    return library.CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        resample={"bilinear": 2, "bicubic": 3}[preprocessing.interpolation],
        image_mean=list(preprocessing.mean),
        image_std=list(preprocessing.std),
    )
