"""Measure how often a small captioner is right about held-out objects, and that it could be wrong.

    python -m captions.tiny.evaluate --views FAST --views PHYSICAL

runs the real backend with the paper's settings. The controls show where the words come from: pictures dealt
out anew must cost colour and view, a prompt without or with another category must cost the category. With
`--validation` it does the same for the objects by which the recipe was chosen.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import numpy as np
import pyarrow.parquet
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from captions.backends.instructblip import TINY, TINY_FOLDER, Options, create
from captions.captioner import Captioner, NoCaption
from captions.prompts import UNGUIDED_PROMPT, category_prompt
from captions.tiny.card import model_card, table, verdict
from captions.tiny.examples import Examples, held_out_uids, is_validation, read_examples
from captions.tiny.labels import CLEAR_SHARE
from captions.tiny.train import RECIPE_FILE
from captions.tiny.vocabulary import ABOVE, CATEGORIES, COLOURS, VIEW_PHRASES, parse_caption
from mvcap.config import PAPER_PROMPT
from mvcap.schema import OBJECTS

FIGURES_FILE: Final = "figures.json"
BATCH: Final = 64
VIEWS: Final = 8
"""The first so many views of each object in each dataset are judged."""

SEED: Final = 0
"""Of the controls' random pictures and categories."""


Figures: TypeAlias = dict[str, dict[str, float]]


def evaluate(captioner: Captioner, datasets: Mapping[str, Examples]) -> Figures:
    """Return the shares of right words in [0, 1], for the captions and for the controls.

    Args:
        datasets: the views of each dataset, by its name.
    """
    captions = {
        name: write_captions(captioner, examples.pixels, guided_prompts(examples))
        for name, examples in datasets.items()
    }
    everything = Examples.join(list(datasets.values()))
    texts = list(chain.from_iterable(captions.values()))
    figures = {"captions": {**score(texts, everything), "distinct_captions": len(set(texts))}}
    figures |= {f"captions_{name}": score(captions[name], datasets[name]) for name in datasets}
    counts: dict[str, float] = {
        "objects": len(set(everything.uids)),
        "views": len(everything),
        "clearly_coloured": int(clearly_coloured(everything).sum()),
        "judged": int((~everything.between).sum()),
    }
    return figures | controls(captioner, everything) | {"data": counts}


def guided_prompts(examples: Examples) -> list[str]:
    """Write the paper's prompt for each view."""
    return [category_prompt(PAPER_PROMPT, name) for name in examples.categories]


def controls(captioner: Captioner, examples: Examples) -> Figures:
    """Score captions of other pictures, and of other prompts; and chance."""
    rng = np.random.default_rng(SEED)
    swapped = [CATEGORIES[index] for index in rng.integers(len(CATEGORIES), size=len(examples))]
    others = [category_prompt(PAPER_PROMPT, name) for name in swapped]
    shuffled = examples.pixels[rng.permutation(len(examples))]
    elsewhere = write_captions(captioner, examples.pixels, others)
    unguided = [UNGUIDED_PROMPT] * len(examples)
    return {
        "shuffled_pictures": score(write_captions(captioner, shuffled, guided_prompts(examples)), examples),
        "unguided_prompt": score(write_captions(captioner, examples.pixels, unguided), examples),
        "random_category": {**score(elsewhere, examples), "named_by_prompt": _agreement(elsewhere, swapped)},
        "commonest_answer": commonest_answers(examples),
    }


def write_captions(captioner: Captioner, pixels: NDArray[np.uint8], prompts: Sequence[str]) -> list[str]:
    """Caption (N, H, W, 3) pictures in batches; a picture that fails has said nothing, which is wrong."""
    captions: list[str | NoCaption] = []
    for start in range(0, len(prompts), BATCH):
        images = [Image.fromarray(picture) for picture in pixels[start : start + BATCH]]
        captions += captioner.caption(images, prompts[start : start + BATCH])
    return ["" if isinstance(caption, NoCaption) else caption for caption in captions]


def score(captions: Sequence[str], examples: Examples) -> dict[str, float]:
    """Score captions: see `captions.tiny.card` for what is judged under each name."""
    parsed = [parse_caption(caption) for caption in captions]
    category = np.array([name for name, _, _ in parsed]) == np.array(examples.categories)
    colour = np.array([said == COLOURS[i] for (_, said, _), i in zip(parsed, examples.colours, strict=True)])
    said, true = np.array([view for _, _, view in parsed]), np.array(VIEW_PHRASES)[examples.views]
    above = (said == ABOVE) == (true == ABOVE)
    return {
        "category": _share(category),
        "colour": _share(colour[clearly_coloured(examples)]),
        "view": _share((said == true)[~examples.between]),
        "view_all": _share(said == true),
        "above": _share(above[~examples.between]),
        "facing": _share((said == true)[_facing(examples)]),
    }


def clearly_coloured(examples: Examples) -> NDArray[np.bool_]:
    """Return which of (N,) views have one colour all over."""
    clear: NDArray[np.bool_] = examples.shares >= CLEAR_SHARE
    return clear


def _facing(examples: Examples) -> NDArray[np.bool_]:
    """Return which of (N,) views are judged for front, side and back."""
    low = np.array(VIEW_PHRASES)[examples.views] != ABOVE
    facing: NDArray[np.bool_] = low & ~np.isnan(examples.from_front_deg) & ~examples.between
    return facing


def commonest_answers(examples: Examples) -> dict[str, float]:
    """Score the best constant answer for each word: chance."""
    above = (np.array(VIEW_PHRASES)[examples.views] == ABOVE).astype(np.int64)
    return {
        "category": _mode_share(np.unique(examples.categories, return_inverse=True)[1]),
        "colour": _mode_share(examples.colours[clearly_coloured(examples)]),
        "view": _mode_share(examples.views[~examples.between]),
        "view_all": _mode_share(examples.views),
        "above": _mode_share(above[~examples.between]),
        "facing": _mode_share(examples.views[_facing(examples)]),
    }


def _agreement(captions: Sequence[str], names: Sequence[str]) -> float:
    pairs = zip(captions, names, strict=True)
    return _share([parse_caption(caption)[0] == name for caption, name in pairs])


def _share(right: Sequence[bool] | NDArray[np.bool_]) -> float:
    return round(float(np.mean(right)), 4) if len(right) else float("nan")


def _mode_share(values: NDArray[np.int64]) -> float:
    return _share(values == np.bincount(values).argmax()) if len(values) else float("nan")


def main(
    views: Annotated[list[Path], typer.Option(help="A dataset that `captions.tiny.train` read; repeatable.")],
    model: Annotated[str, typer.Option(help="`tiny`, or a checkpoint's folder.")] = TINY,
    validation: Annotated[bool, typer.Option("--validation", help="Judge the validation objects.")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Write figures and card into the checkpoint's folder.")
    ] = False,
) -> None:
    """Print the figures on the held-out objects."""
    if validation and card:
        raise typer.BadParameter("the card tells of the held-out objects: leave out --validation or --card")
    torch.set_num_threads(1)
    chosen = is_validation if validation else held_out_uids().__contains__
    datasets = {path.name: read_examples([path], chosen=chosen, views=VIEWS) for path in views}
    with create(Options(model=model, device="cpu")) as captioner:
        figures = evaluate(captioner, datasets)
    print(f"{figures['data']}\n\n{table(figures)}\n\n{verdict(figures['captions'])}")
    if card:
        write_card(TINY_FOLDER if model == TINY else Path(model), figures, views[0])


def write_card(folder: Path, figures: Mapping[str, Mapping[str, float]], views: Path) -> None:
    """Write `figures.json` and `README.md` into a trained checkpoint's folder."""
    recipe = json.loads((folder / RECIPE_FILE).read_text("utf-8"))
    objects = pyarrow.parquet.read_table(views / OBJECTS, columns=["license", "creator"])
    credits = zip(*(column.to_pylist() for column in objects.columns), strict=True)
    (folder / FIGURES_FILE).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(recipe, figures, credits), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
