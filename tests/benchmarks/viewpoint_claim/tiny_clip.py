"""A CLIP of half a million parameters, of open_clip's own classes, and its pre-training on frontal views."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from captions.tiny.first_weights import sine_positions
from training.config import OptimiserConfig
from training.losses import image_text_loss
from training.optimiser import learning_rate, make_optimiser, set_learning_rate
from training.student import Student
from viewpoint_claim.augment import VARIATION, Variation, vary
from viewpoint_claim.data import Parted, Pictures
from viewpoint_claim.pictures import RESOLUTION
from viewpoint_claim.wording import CONTEXT, TEMPLATES, Tokenizer, write_caption

WIDTH: Final = 96
PATCH: Final = 8
EMBEDDING: Final = 96
CHUNK: Final = 256
WORDED: Final = 0.5
"""Share of the captions that say the colour, and of those that say from where."""
OPTIMISER: Final = OptimiserConfig(steps=1000, learning_rate=1e-3, warmup_steps=100)


def build(vocabulary: int, *, dropped_patches: float) -> Any:
    """Build the model with first weights that learn from few objects (`captions.tiny.first_weights`)."""
    model = CLIP(
        EMBEDDING,
        {
            "image_size": RESOLUTION,
            "patch_size": PATCH,
            "width": WIDTH,
            "layers": 4,
            "head_width": WIDTH // 4,
            "mlp_ratio": 3.0,
            "pool_type": "avg",
            "final_ln_after_pool": True,
            "patch_dropout": dropped_patches,
        },
        {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            "width": WIDTH,
            "heads": 4,
            "layers": 1,
            "mlp_ratio": 2.0,
        },
    )
    visual = model.visual
    visual.conv1 = stem()
    with torch.no_grad():
        visual.positional_embedding.copy_(sine_positions(RESOLUTION // PATCH, WIDTH)[0])
        for block in visual.transformer.resblocks:
            query, value = (torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0] for _ in range(2))
            block.attn.in_proj_weight.copy_(torch.cat([query, query, value]))
            block.attn.out_proj.weight.copy_(-0.5 * value.T)
    return model


def stem() -> nn.Sequential:
    """Cut a picture into patches by three convolutions, each of which halves it."""
    widths = (3, WIDTH // 4, WIDTH // 2, WIDTH)
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(wide // 12, wide), nn.GELU()]
    return nn.Sequential(*layers[:-2])


@dataclass(frozen=True, slots=True)
class Pretraining:
    """All that decides the base, beside the pictures and the seed."""

    optimiser: OptimiserConfig = OPTIMISER
    batch: int = 64
    dropped_patches: float = 0.5
    """Share of the patches that are not seen in training, here and in tuning: half the time."""
    variation: Variation = VARIATION


def pretrain(
    parted: Parted,
    tokenizer: Tokenizer,
    recipe: Pretraining,
    *,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Train a CLIP on the frontal views of the pre-training objects."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    model = build(tokenizer.size, dropped_patches=recipe.dropped_patches).train()
    pictures = parted.pictures
    rows = parted.rows("pretraining", frontal=True)
    nouns = noun_numbers(pictures.nouns)
    optimiser = make_optimiser(model, recipe.optimiser)
    running = 0.0
    for step in range(recipe.optimiser.steps):
        set_learning_rate(optimiser, learning_rate(step, recipe.optimiser))
        chosen = balanced(rows, pictures.objects, recipe.batch, rng)
        images, recoloured = vary(pictures.rgba[chosen], recipe.variation, rng)
        texts = random_captions(pictures, chosen, recoloured, rng, worded=WORDED)
        noun = torch.from_numpy(nouns[pictures.objects[chosen]])
        loss = image_text_loss(
            F.normalize(model.encode_image(images), dim=1),
            F.normalize(model.encode_text(tokenizer(texts)), dim=1),
            model.logit_scale.exp(),
            positives=noun[:, None] == noun,
        )
        take_step(optimiser, loss)
        with torch.no_grad():
            model.logit_scale.clamp_(max=np.log(100))
        running += loss.item()
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}/{recipe.optimiser.steps}: loss {running / 100:.3f}")
            running = 0.0
    return model.eval()


def balanced(
    rows: NDArray[np.int64], objects: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pictures of different objects, evenly over objects, and each object's evenly over its views."""
    names, first, counts = np.unique(objects[rows], return_index=True, return_counts=True)
    drawn = rng.choice(len(names), size, replace=size > len(names))
    return rows[first[drawn] + rng.integers(counts[drawn])]


def random_captions(
    pictures: Pictures,
    rows: NDArray[np.int64],
    recoloured: Tensor,
    rng: np.random.Generator,
    *,
    worded: float,
) -> list[str]:
    """Caption pictures anew; colours only where they are still true."""
    return [
        write_caption(
            pictures.nouns[pictures.objects[row]],
            int(rng.integers(len(TEMPLATES))),
            colour=int(pictures.colours[row]) if not changed and rng.random() < worded else -1,
            phrase=int(pictures.phrases[row]) if rng.random() < worded else None,
        )
        for row, changed in zip(rows, recoloured.tolist(), strict=True)
    ]


def noun_numbers(nouns: Sequence[str]) -> NDArray[np.int64]:
    """Number equal nouns equally."""
    return np.unique(np.array(nouns), return_inverse=True)[1]


def take_step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
    optimiser.step()


@torch.no_grad()
def class_features(student: Student, names: Sequence[str]) -> Tensor:
    """Return (C, D): each class's mean over the templates, as CLIP's zero-shot classifiers are made."""
    rows = []
    for name in names:
        prompts = [template.format(noun=name) for template in TEMPLATES]
        rows.append(student.encode_texts(student.encoder.tokenize(prompts)).mean(dim=0))
    return F.normalize(torch.stack(rows), dim=1)


def image_features(student: Student, pixels: NDArray[np.uint8]) -> Tensor:
    """Return unit-norm (N, D) of (N, H, W, 3) pictures, each by itself."""
    parts = np.array_split(pixels, max(1, -(-len(pixels) // CHUNK)))
    return torch.cat([student.embed(torch.from_numpy(part).permute(0, 3, 1, 2)) for part in parts])
