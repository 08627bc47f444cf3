"""One step of several recipes, alone or as one of the processes that torchrun would start; the leader writes
losses and gradients. Usage: `one_step.py MODEL OUT`."""

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from training.data import join
from training.distributed import joined
from training.recipes import build_config
from training.runs import create_encoder
from training.trainer import Trainer

COUNTS = [1, 20, 9, 4, 2, 17, 3, 6, 14, 8]  # 84 views
UNCAPTIONED_TERMS = {
    "consistency": {"weight": 0},
    "anchor_contrast": {"weight": 0.3},
    "caption_agreement": {"weight": 0.3},
}
RECIPES: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {"loss": {"multi_positive": False, "consistency": {"hinge": "open"}}},
    "in parts": {"run": {"micro_batch": 7}, "tune": {"text": "lora"}},
    "uncaptioned": {"anchors": {"of": "captioned"}, "loss": UNCAPTIONED_TERMS},
    "anchors of the batch": {"anchors": {"source": "batch"}, "loss": {"variance_floor": {"weight": 1.0}}},
    "distilled": {"loss": {"distillation": {"weight": 1.0}}, "viformer": {"attend": "patches"}},
}


def main(model: str, out: Path) -> None:
    torch.set_num_threads(1)
    pictures = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["MadeUpPictures"]
    with joined() as world:
        for name, recipe in RECIPES.items():
            config = build_config(
                {
                    "model": {"options": {"model": model}},
                    "data": {"batch": 64, "views_per_object": 3},
                    "clean": {"batch": 16},
                    **recipe,
                    "run": {"loaders": 0, "tensorboard": False, **recipe.get("run", {})},
                }
            )
            captioned = [index % 3 != 1 for index in range(sum(COUNTS))]
            data = join(pictures(COUNTS, captioned), pictures([1] * 20))
            run = out / name
            run.mkdir(parents=True, exist_ok=True)
            trainer = Trainer(
                config, create_encoder(config.model), data, run, world, facts={}, say=lambda message: None
            )
            if trainer._keeper:
                trainer._keeper.refresh(0)
            parts, norm = trainer._step(0, trainer._batches[0])
            figures = trainer._figures(0, parts, norm)
            if world.leads:
                gradients = {n: p.grad for n, p in trainer.student.named_parameters() if p.requires_grad}
                told = {f"figure {key}": torch.tensor(value) for key, value in figures.items()}
                save_file({**gradients, **told}, out / f"{name}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
