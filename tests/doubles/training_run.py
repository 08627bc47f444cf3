"""A run's folder, without the training: what `mvcap report --training` reads of it."""

import json
from pathlib import Path
from typing import Any

MODEL = {"backend": "open_clip", "model": "ViT-B-32", "pretrained": "some"}


def share(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}


def angles(accuracy: float) -> dict[str, Any]:
    """Six bands of twelve cells, of which the highest has three without a picture."""
    rows = [[accuracy - 0.05 * band + 0.01 * (cell % 3) for cell in range(12)] for band in range(6)]
    counts = [[90 - 10 * band for _ in range(12)] for band in range(6)]
    rows[5][3::4], counts[5][3::4] = [None] * 3, [0] * 3
    return {
        **{"azimuth_step_deg": 30, "elevation_step_deg": 15, "lowest_elevation_deg": 0},
        **{"accuracy": rows, "pictures": counts},
    }


def told(name: str, accuracy: float, *, posed: bool = True) -> dict[str, Any]:
    """What `results.json` tells of a set."""
    views = {"objects": 40, "always_right": 0.3, "consistency": 0.6, "spread": 0.2}
    return {
        **{"name": name, "classes": 20, "pictures": 4900, "objects": 50},
        **{"top1": share(accuracy), "top5": share(0.95)},
        "views_of_objects": views if posed else None,
        "angles": angles(accuracy) if posed else None,
    }


def with_base(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    change = after["top1"]["mean"] - before["top1"]["mean"]
    return {**after, "base": before, "difference": share(change), "retention": 1.0}


def write_results(folder: Path, *sets: dict[str, Any], run: str | None, model: Any = MODEL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    report = {"model": model, "run": run, "interpolate": 1.0, "templates": "openai", "sets": sets}
    (folder / "results.json").write_text(json.dumps(report))
    return folder


def write_run(run: Path, *, steps: int = 40, name: str = "ovt", bank: bool = True) -> Path:
    """Write `run.json` of 40 steps and a log of some of them."""
    run.mkdir(parents=True, exist_ok=True)
    anchors = {"source": "bank" if bank else "batch", "every_steps": 5}
    recipe = {"name": name, "optimiser": {"steps": 40}, "anchors": anchors}
    facts = {"recipe": recipe, "settings": {"seed": 0, "clean.path": None}, "model": MODEL}
    (run / "run.json").write_text(json.dumps(facts))
    lines = []
    for step in range(1, steps + 1):
        figures = {"step": step, "loss": 4 / step, "image_text": 3 / step, "learning_rate": 1e-4}
        figures |= {"gradient_norm": 1.0, "inverse_temperature": 100.0, "epoch": step / 20}
        figures |= {"step_s": 0.5, "waited_s": 0.05}
        if bank and step % 5 == 0:
            figures |= {"outliers_kept": 0.9, "anchor_cosine": 0.99}
            figures |= {"bank_outliers_agree": 0.7, "bank_anchor_cosine": 0.98}
        lines.append(json.dumps(figures) + "\n")
    if lines:
        (run / "log.jsonl").write_text("".join(lines))
    return run
