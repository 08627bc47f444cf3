"""The dataset card: what a dataset holds, where it comes from, and how to load it."""

import html
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from mvcap import __version__, files
from mvcap.commits import IMPORTER
from mvcap.config import TRAINING, Config
from mvcap.plan import Plan
from mvcap.quantities import by_number, quantity
from mvcap.redaction import redacted
from mvcap.report.captioner_notes import note_on
from mvcap.report.captions import CaptionFigures, ControlFigures, caption_rows
from mvcap.report.card_facts import Facts, gather_facts
from mvcap.report.card_metadata import card_metadata
from mvcap.report.leaks import LeakFigures, leak_rows
from mvcap.report.titles import title_of
from mvcap.schema import CAMERA_CONVENTION
from mvcap.storage import Store

MARKS = re.compile(r"[\\`|\[\]]")
"""What would begin a link, a picture, code or the next cell, and what would take its escape away."""
CAMERAS = ".cameras"
"""Ends the name of a setting that says what is known of a source's cameras."""

BIBTEX = """@inproceedings{ruan2024omniview,
  title     = {Omniview-Tuning: Boosting Viewpoint Invariance of Vision-Language Pre-training Models},
  author    = {Ruan, Shouwei and Dong, Yinpeng and Liu, Hanqing and Huang, Yao and
               Su, Hang and Wei, Xingxing},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2024}
}"""
CITATION = f"""## Citation

The method, and the dataset that this one follows, MVCap, are of:

```bibtex
{BIBTEX}
```"""


def write_card(
    store: Store,
    plan: Plan,
    config: Config,
    figures: CaptionFigures | None = None,
    control: ControlFigures | None = None,
    leaks: LeakFigures | None = None,
) -> None:
    """Write `README.md` from the plan and the commit records.

    Args:
        config: gives the dataset's name if it has one, and the settings where the recorded ones were lost.
        figures: what was measured of the captions; None where there are none.
        control: what captions without guidance name; None where nobody tried.
        leaks: what evaluation and training might share; None where nobody looked.
    """
    facts = gather_facts(store, plan, config)
    measured = [*(_leaks(leaks) if leaks else []), *(_captions(facts, figures, control) if figures else [])]
    title = title_of(config.name, store.root)
    metadata = card_metadata(
        title,
        views=facts.views,
        splits=facts.splits,
        licenses={name for name, _, _ in facts.credits},
        data_bytes=facts.data_bytes,
        current=facts.current,
        failed=facts.any_failure,
        scored=bool(figures and figures.clip_scores),
    )
    pictured = files.exists(store.samples_path)
    text = f"---\n{metadata.to_yaml()}\n---\n\n{_body(title, facts, measured, pictured=pictured)}"
    files.write_bytes(store.root / "README.md", redacted(text).encode())


def describe_settings(store: Store, plan: Plan, config: Config) -> dict[str, str]:
    """Return what decided a dataset's pictures and captions, in words for a table."""
    return {name: str(value) for name, value in _settings(gather_facts(store, plan, config))}


def _body(title: str, facts: Facts, measured: Iterable[str], *, pictured: bool) -> str:
    parts = [
        f"# {_text(title)}",
        f"{quantity(facts.views, 'view')} of {quantity(facts.objects, 'object')} in "
        f"{quantity(len(facts.categories), 'category', 'categories')}, each view with "
        f"{_what_views_have(facts)}. Made with mvcap {__version__}, in the manner of MVCap (Omniview-Tuning, "
        "ECCV 2024).",
        _table(
            ["split", "objects", "views"],
            [(split, facts.objects_of.get(split, 0), rows) for split, rows in facts.splits.items()],
        ),
        *_warnings(facts),
        *(["![Views with their captions](report/samples.png)"] if pictured else []),
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        f'views = load_dataset("PATH_OR_NAME", split="{_first_split(facts)}")\n'
        'print(views[0]["caption"], views[0]["image"])\n```\n\n'
        "`objects.parquet` has a row for each object (category, creator, licence, status), "
        "`failures.parquet` one for each object or view that failed.",
        *_camera_notes(facts),
        "## How it was made\n\n" + _table(["setting", "value"], _settings(facts)),
        "Every row names the source, the object's own id there, its licence and creator, the checksum of the "
        "model file and the renderer; `_mvcap/` holds the plan, the settings and a record of each file with "
        "its checksum.",
        *_again(facts),
        *measured,
        "## Categories\n\n" + _table(["category", "objects"], sorted(facts.categories.items())),
        "## Licences and attribution\n\nEvery object keeps its own licence; `objects.parquet` names the "
        "creator, licence and origin of each one, and every row of the data repeats them.\n\n"
        + _table(
            ["licence", "creator", "source", "objects"],
            [(*who, n) for who, n in sorted(facts.credits.items())],
        ),
        "## Known limits\n\n" + "\n".join(f"* {limit}" for limit in _limits(facts)),
        CITATION,
    ]
    return "\n\n".join(parts) + "\n"


def _first_split(facts: Facts) -> str:
    """Name a split that has rows: few objects may all be of another one than that for training."""
    return TRAINING if TRAINING in facts.splits else next(iter(facts.splits), TRAINING)


def _again(facts: Facts) -> Iterable[str]:
    """Name the command that makes one rendered picture again, whole."""
    if facts.example:
        uid, view = facts.example
        words = ["mvcap", "render", "--out", facts.folder, "--uid", uid, "--view", str(view)]
        yield (
            "With these, and the models where they were, any rendered picture is made again; one of them, in "
            "the folder that this dataset lies in:\n\n"
            f"```bash\n{shlex.join([*words, '--save', 'again.png'])}\n```"
        )


def _limits(facts: Facts) -> Iterable[str]:
    """Say what a user might expect of the data and must not."""
    yield (
        "The captions were written by a model and read by nobody: they may be wrong about colour, material "
        "and number. The prompt names the category, so that a caption which names it says little about "
        "what can be seen."
    )
    yield "Categories come from the sources' labels, or from the names of folders, and were not checked."
    if facts.rendered:
        yield (
            "Rendered objects stand alone, without a surrounding, and sizes are lost: each is scaled to the "
            "unit cube. Up is where the model file says."
        )
        yield "Rendered views are of the upper hemisphere; no object is seen from below."
    if facts.imported:
        yield "Near-duplicates among imported pictures were not looked for."
    if facts.credits_unknown:
        yield (
            f"The licence of {quantity(facts.credits_unknown, 'object')} is unknown: ask the creators before "
            "you use them."
        )


def _what_views_have(facts: Facts) -> str:
    if facts.posed == facts.views:
        return "a camera and a caption"
    return f"a caption, {facts.posed} with a camera" if facts.posed else "a caption"


def _camera_notes(facts: Facts) -> Iterable[str]:
    """Say in which frame the cameras are, and of which sources they are estimated."""
    if not facts.posed:
        return
    yield f"## Cameras\n\n{CAMERA_CONVENTION}"
    notes = {name: text for name, text in facts.render.items() if name.endswith(CAMERAS)}
    if notes:
        yield "What this means for pictures that were not rendered here:\n\n" + _table(
            ["source", "cameras"],
            [(name.removesuffix(CAMERAS), text) for name, text in sorted(notes.items())],
        )


def _captions(facts: Facts, figures: CaptionFigures, control: ControlFigures | None) -> Iterable[str]:
    """Tell how good the captions are; the rows of the data hold the same for each one."""
    yield "## Captions\n\n" + _table(["measure", "value"], caption_rows(figures, control))
    if vocabulary := facts.captioner.get("vocabulary"):
        yield (
            f"No caption was removed for its quality. Categories are recognised by their own words, singular "
            f"or plural, and by the synonyms of: {_text(vocabulary['words'])}."
        )


def _leaks(figures: LeakFigures) -> Iterable[str]:
    yield "## Training and evaluation\n\n" + _table(["measure", "objects"], leak_rows(figures))
    if figures.leaking:
        yield (
            "**Leave objects out of training that look like one of another split**: rows of the split "
            f"`{TRAINING}` whose `duplicate_of` is not null."
        )


def _warnings(facts: Facts) -> Iterable[str]:
    if note := note_on(facts.captioner):
        settings = "--set captions.backend=instructblip --set captions.options.model=NAME"
        anew = f"mvcap caption {shlex.quote(facts.folder)} --recaption {settings}"
        yield f"> **{note.origin}** {note.worth} `{anew}` writes real ones."
    if facts.uncaptioned:
        some = "The" if facts.uncaptioned == facts.views else f"{facts.uncaptioned:,} of {facts.views:,}"
        yield f"> {some} views have no captions yet; `mvcap caption` writes them."
    if facts.failed:
        yield f"{quantity(facts.failed, 'object')} failed; `failures.parquet` says why."
    if facts.pending:
        yield f"{quantity(facts.pending, 'object')} to come: the dataset is not finished."
    if facts.removed:
        were = by_number(facts.removed, "was", "were")
        yield (
            f"{quantity(facts.removed, 'object')} {were} removed after the build; `objects.parquet` says "
            "which and why."
        )


def _settings(facts: Facts) -> Iterable[tuple[str, object]]:
    if facts.imported:
        which = (
            "those that were not rendered, as they came" if facts.rendered else "as they came, none rendered"
        )
        yield "pictures", which
        yield "background of transparent ones", facts.render["background"]
    if facts.rendered:
        yield from _render_settings(facts)
    yield "captioner", facts.captioner.get("name", "none")
    if facts.captioner:
        yield "prompt", facts.captions.get("prompt")


def _render_settings(facts: Facts) -> Iterable[tuple[str, object]]:
    render = facts.render
    yield "renderer", _renderer(facts.renderer)
    yield "preset, samples", f"{render['preset']}, {render['samples'] or 'as the preset says'}"
    yield "light, view transform", f"{render['light']}, {render['view_transform']}"
    pictures = render.get("backgrounds.pictures")
    yield "background", quantity(pictures, "picture") if pictures else render["background"]
    yield "resolution", f"{render['resolution']} px"
    yield "cameras", _cameras(render)
    yield "seed", render["seed"]


def _renderer(made_by: Mapping[str, Any]) -> str:
    """Say name before version, though commit records sort their keys: `blender 4.5.15 LTS`."""
    versions = [str(value) for key, value in made_by.items() if key not in ("name", IMPORTER)]
    return " ".join([str(made_by.get("name", "unknown")), *versions])


def _cameras(render: Mapping[str, Any]) -> str:
    shares = {"distances": render["camera.distance_jitter"], "fields of view": render["camera.fov_jitter"]}
    jitter = "".join(f", {what} varied by up to {share:.0%}" for what, share in shares.items() if share)
    lens = f"lens {render['camera.lens_mm']} mm on {render['camera.sensor_mm']} mm"
    return f"{render['camera.law']} law{jitter}; {lens}"


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: object) -> str:
    """Make any text safe inside a Markdown table: names come from strangers, and must not load pictures."""
    return MARKS.sub(r"\\\g<0>", html.escape(" ".join(str(value).split()), quote=False))
