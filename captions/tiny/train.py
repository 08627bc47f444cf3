"""Train the small InstructBLIP on rendered views, reproducibly, on one thread.

    mvcap render --config captions/tiny/views.yaml --out FAST --preset fast --views 40 --set seed=1
    mvcap render --config captions/tiny/views.yaml --out PHYSICAL --views 8 --set seed=2
    python -m captions.tiny.train --views FAST --views PHYSICAL --out FIRST
    python -m captions.tiny.train --views FAST --views PHYSICAL --start FIRST --out SECOND
    python -m captions.tiny.train --views FAST --start SECOND --out FOLDER

`make soak` does all of it and compares the outcome with the shipped checkpoint.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import InstructBlipForConditionalGeneration

from captions.tiny.architecture import (
    Size,
    build_processor,
    publish_checkpoint,
    save_checkpoint,
)
from captions.tiny.batches import IGNORED, Batch, BatchMaker
from captions.tiny.examples import Examples, held_out_uids, is_validation, read_examples
from captions.tiny.first_weights import fresh_model
from captions.tiny.vocabulary import CAPTION_WORDS, CATEGORIES, COLOURS, READ_WORDS, VIEW_PHRASES
from mvcap.quiet import quiet_transformers

SIZE: Final = Size(width=96, vision_layers=4, text_layers=2, image_size=64, patch_size=8)
REPORT_STEPS: Final = 100
UNMEASURED: Final = (
    "A tiny InstructBLIP, trained and not yet evaluated: `python -m captions.tiny.evaluate`.\n"
)
RECIPE_FILE: Final = "recipe.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights, beside the views."""

    seed: int = 0
    vision_steps: int = 3200
    """First the picture's encoder alone, by its auxiliary head: points of view take it longest."""
    steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    dropped_patches: float = 0.5
    """Share of the patches that the encoder does not see while it is trained alone: half the time, and
    less learning by heart."""
    auxiliary_weight: float = 0.3
    sharpening: float = 4.0
    """Factor of the output's logits after training: the paper's length penalty of -1 multiplies a caption's
    log-probability by its length, so that an unsure caption loses to an empty one (1 of 155 did without)."""
    recoloured: float = 0.0
    """Share of the views whose colour channels are exchanged, once and for all."""
    redrawn: float = 0.0
    """Share of each batch that is drawn in other colours. Where above 0, the colours of all are measured in
    the batch, and the encoder's head learns the share of each instead of the commonest."""
    size: Size = SIZE


ROUNDS: Final = (
    Recipe(),
    # Shorter, and with objects in several colours: after the first, colours and views were learnt by heart.
    Recipe(seed=1, vision_steps=1200, steps=600, recoloured=0.6),
    # Colours of its own for each picture of each batch, measured there: after the second, one colour in
    # twenty-five was still wrong on the very objects of the training, mostly the name of a neighbour.
    Recipe(seed=2, vision_steps=400, steps=400, redrawn=0.7),
)
"""Each goes on from the checkpoint of the one before."""


class AuxiliaryHeads(nn.Module):
    """Heads that tell the picture's encoder what matters; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Linear(width, len(COLOURS))
        self.view = nn.Linear(width, len(VIEW_PHRASES))
        self.category = nn.Linear(width, len(CATEGORIES))
        self.angles = nn.Linear(width, 3)

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """Return the () sum of the losses of (B, D) features."""
        known = torch.nan_to_num(batch.angles)
        error = (self.angles(features) - known)[~batch.angles.isnan()]
        loss: Tensor = (
            0.5 * F.cross_entropy(self.colour(features), batch.colours)
            + F.cross_entropy(self.view(features), batch.views)
            + 0.3 * F.cross_entropy(self.category(features), batch.categories, ignore_index=IGNORED)
            + 2 * error.square().mean()
        )
        return loss


def train(
    examples: Examples,
    recipe: Recipe,
    *,
    start: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Any, Any]:
    """Train on every example and return (processor, model); equal arguments give equal weights.

    One thread and the caller's random state is left alone.

    Args:
        start: the checkpoint of an earlier round to go on from; None starts from first weights.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return _train(examples, recipe, start, say)
    finally:
        torch.set_num_threads(threads)


def _train(
    examples: Examples, recipe: Recipe, start: Path | None, say: Callable[[str], None]
) -> tuple[Any, Any]:
    processor = build_processor(CAPTION_WORDS + READ_WORDS, recipe.size, white_is_zero=True)
    model = trained_model(start, recipe) if start else fresh_model(processor, recipe.size)
    heads = nn.ModuleList([AuxiliaryHeads(recipe.size.width) for _ in range(2)])
    rng = np.random.default_rng(recipe.seed)
    batches = BatchMaker(examples, processor, rng, redrawn=recipe.redrawn)

    def vision_loss() -> Tensor:
        batch = batches.draw(recipe.batch_size)
        patches = model.vision_model(batch.inputs["pixel_values"])[0]  # (B, P, D)
        loss: Tensor = heads[0](patches.mean(dim=1), batch)
        return loss

    def caption_loss() -> Tensor:
        return step_loss(model, heads, batches.draw(recipe.batch_size), recipe.auxiliary_weight)

    model.train()
    seen = nn.ModuleList([model.vision_model, heads[0]])
    with dropping_patches(model.vision_model, recipe.dropped_patches):
        _descend(seen, vision_loss, recipe, recipe.vision_steps, lambda line: say(f"vision {line}"))
    _descend(nn.ModuleList([model, heads]), caption_loss, recipe, recipe.steps, say)
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(recipe.sharpening)
    return processor, model.eval()


def _descend(
    module: nn.Module, draw_loss: Callable[[], Tensor], recipe: Recipe, steps: int, say: Callable[[str], None]
) -> None:
    """Take AdamW steps with a warm-up and a cosine down to zero; report each hundred's mean loss."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    rate = partial(_rate, warmup_steps=recipe.warmup_steps, steps=steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    total = 0.0
    for step in range(1, steps + 1):
        loss = draw_loss()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % REPORT_STEPS == 0:
            say(f"step {step}/{steps}: loss {total / REPORT_STEPS:.3f}")
            total = 0.0


def trained_model(folder: Path, recipe: Recipe) -> Any:
    """Load what an earlier round saved, as it was before its logits were multiplied."""
    load: Any = InstructBlipForConditionalGeneration.from_pretrained
    with quiet_transformers():
        model = load(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    with torch.no_grad():
        model.language_model.lm_head.weight.div_(recipe.sharpening)
    return model


@contextmanager
def dropping_patches(vision_model: Any, share: float) -> Iterator[None]:
    """Let the encoder see a random part of the (B, 1 + P, D) class token and patches of each picture."""

    def drop(module: nn.Module, arguments: object, embedded: Tensor) -> Tensor:
        count, patches = embedded.shape[0], embedded.shape[1] - 1
        kept = torch.rand(count, patches).argsort(dim=1)[:, : round(patches * (1 - share))] + 1
        rows = torch.cat([torch.zeros(count, 1, dtype=torch.int64), kept], dim=1)  # (B, 1 + kept)
        return embedded.gather(1, rows[..., None].expand(-1, -1, embedded.shape[2]))

    hook = vision_model.embeddings.register_forward_hook(drop)
    try:
        yield
    finally:
        hook.remove()


def step_loss(model: Any, heads: nn.ModuleList, batch: Batch, auxiliary_weight: float) -> Tensor:
    """Return the () loss of the caption and, weighted, of the heads on patches and on queries."""
    outputs = model(**batch.inputs)
    queries = outputs.qformer_outputs[0][:, : model.config.num_query_tokens]  # (B, Q, D)
    features = (outputs.vision_outputs[0].mean(dim=1), queries.mean(dim=1))  # 2 x (B, D)
    auxiliary = sum(head(part, batch) for head, part in zip(heads, features, strict=True))
    loss: Tensor = outputs.loss + auxiliary_weight * auxiliary
    return loss


def _rate(step: int, *, warmup_steps: int, steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) * 0.5 * (1 + cos(pi * min(step / steps, 1)))


def earlier_rounds(start: Path) -> list[dict[str, Any]]:
    """Return the recipes of a checkpoint's rounds, the first one first.

    Raises:
        BadParameter: no round follows on its last one.
    """
    last = json.loads((start / RECIPE_FILE).read_text("utf-8"))
    rounds = [*last.pop("earlier_rounds"), last]
    if len(rounds) >= len(ROUNDS):
        raise typer.BadParameter(f"{start} has been through all {len(ROUNDS)} rounds")
    return rounds


def main(
    views: Annotated[list[Path], typer.Option(help="A finished dataset of views with alpha; repeatable.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; must not exist.")],
    start: Annotated[Path | None, typer.Option(help="Checkpoint of the round before this one.")] = None,
    validate: Annotated[bool, typer.Option(help="Leave out the validation objects too.")] = False,
) -> None:
    """Train on the objects that are not held out and write the checkpoint."""
    if out.exists():
        raise typer.BadParameter(f"{out} exists; name a new folder")
    left_out = held_out_uids()
    earlier = earlier_rounds(start) if start else []
    recipe = ROUNDS[len(earlier)]
    examples = read_examples(
        views,
        recoloured=recipe.recoloured,
        chosen=lambda uid: uid not in left_out and not (validate and is_validation(uid)),
    )
    examples = examples.where(~examples.between)
    started = time.process_time()
    processor, model = train(examples, recipe, start=start, say=lambda line: print(line, flush=True))
    facts = {
        **asdict(recipe),
        "objects": len(set(examples.uids)),
        "views": len(examples),
        "parameters": model.num_parameters(),
        "cpu_minutes": round((time.process_time() - started) / 60, 1),
        "torch": torch.__version__,
        "earlier_rounds": earlier,
    }

    def write(folder: Path) -> None:
        save_checkpoint(folder, processor, model, UNMEASURED)
        (folder / RECIPE_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    publish_checkpoint(out, write)


if __name__ == "__main__":
    typer.run(main)
