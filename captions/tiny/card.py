"""The trained checkpoint's model card, written from its recipe and its measured figures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from captions.tiny.labels import (
    ABOVE_BAND_DEG,
    ABOVE_DEG,
    CLEAR_SHARE,
    NAMED_SHARE,
    SECTOR_BAND_DEG,
    SECTOR_DEG,
)
from captions.tiny.vocabulary import CATEGORIES, COLOURS, FRONTED, UNKNOWN

TARGETS: Final = {"category": 0.98, "colour": 0.95, "view": 0.75}
"""What issue 4 asks of the held-out objects."""

COLUMNS: Final = ("category", "colour", "view", "view_all", "above", "facing")

ROUND_COLUMNS: Final = {
    "seed": "seed",
    "steps of the encoder": "vision_steps",
    "of all": "steps",
    "exchanged": "recoloured",
    "redrawn": "redrawn",
    "objects": "objects",
    "views": "views",
    "CPU minutes": "cpu_minutes",
}
"""Heading -> name in `recipe.json`."""

CONTROLS: Final = {
    "shuffled_pictures": "control: pictures dealt out anew",
    "unguided_prompt": "control: prompt without a category",
    "random_category": "control: prompt with a random category",
    "commonest_answer": "chance: always the commonest answer",
}


def model_card(
    recipe: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, float]],
    credits: Iterable[tuple[str | None, str | None]],
) -> str:
    """Write the card.

    Args:
        recipe: what `captions.tiny.train` saved.
        figures: what `captions.tiny.evaluate.evaluate` returned, with the counts under `data`.
        credits: (licence, creator) of each object.
    """
    pairs = list(credits)
    creators = Counter(creator for _, creator in pairs if creator)
    rounds = [*recipe["earlier_rounds"], recipe]
    template = (files("captions.tiny") / "card_template.md").read_text("utf-8")
    return template.format(
        **recipe,
        total_cpu_minutes=sum(one["cpu_minutes"] for one in rounds),
        rounds=rounds_table(rounds),
        categories=len(CATEGORIES),
        unknown=UNKNOWN,
        colours=", ".join(COLOURS),
        named=NAMED_SHARE,
        clear=CLEAR_SHARE,
        above=ABOVE_DEG,
        above_band=ABOVE_BAND_DEG,
        sector=SECTOR_DEG,
        sector_band=SECTOR_BAND_DEG,
        fronted=", ".join(sorted(FRONTED)),
        held_out_objects=figures["data"]["objects"],
        held_out_views=figures["data"]["views"],
        clearly_coloured=figures["data"]["clearly_coloured"],
        judged=figures["data"]["judged"],
        facing=figures["captions"]["facing"],
        facing_chance=figures["commonest_answer"]["facing"],
        table=table(figures),
        targets=", ".join(f"{name} ≥ {limit:.2f}" for name, limit in TARGETS.items()),
        verdict=verdict(figures["captions"]),
        named_by_prompt=figures["random_category"]["named_by_prompt"],
        licenses=", ".join(sorted({license for license, _ in pairs if license})),
        creators=", ".join(name for name, _ in creators.most_common()),
    )


def rounds_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Lay the recipes of the rounds out as a Markdown table; the first ones knew fewer settings."""
    lines = [f"| round | {' | '.join(ROUND_COLUMNS)} |", "|---" * (len(ROUND_COLUMNS) + 1) + "|"]
    for number, recipe in enumerate(rounds, start=1):
        cells = [f"{recipe.get(name, 0):,g}" for name in ROUND_COLUMNS.values()]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Lay figures out as a Markdown table."""
    lines = [f"| | {' | '.join(COLUMNS)} |".replace("_", " "), "|---" * (len(COLUMNS) + 1) + "|"]
    for name, title in _rows(figures).items():
        cells = [f"{figures[name][column]:.3f}" if column in figures[name] else "" for column in COLUMNS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(figures: Iterable[str]) -> dict[str, str]:
    """Name the table's rows: all captions, those of each dataset, the controls."""
    datasets = {name: name.replace("captions_", "of these, ") for name in figures if "captions_" in name}
    return {"captions": "**captions**", **datasets, **CONTROLS}


def verdict(held_out: Mapping[str, float]) -> str:
    """Say which of the targets are missed."""
    missed = [f"{name} ({held_out[name]:.3f})" for name, limit in TARGETS.items() if held_out[name] < limit]
    return f"**Not reached**: {', '.join(missed)}." if missed else "All reached."
