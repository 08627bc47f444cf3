"""The dataset card: what a dataset holds, where it comes from, and how to load it."""

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import DatasetCardData

from mvcap import __version__, files
from mvcap.commits import CAPTION, RENDER, Commit, StageName
from mvcap.config import TRAINING, Config, RenderConfig, producing_settings
from mvcap.plan import Plan
from mvcap.redaction import redacted
from mvcap.report.captions import CaptionFigures, ControlFigures, caption_rows
from mvcap.report.leaks import LeakFigures, leak_rows
from mvcap.schema import CAMERA_CONVENTION
from mvcap.storage import Store
from mvcap.tables import filled_rows

HUB_LICENSES = {
    "CC0-1.0": "cc0-1.0",
    "CC-BY-3.0": "cc-by-3.0",
    "CC-BY-3.0-US": "cc-by-3.0",
    "CC-BY-4.0": "cc-by-4.0",
}
"""The hub's own names; what is not listed becomes `other`."""
IMPORTER = "pictures"
"""Names, in commit records, what takes pictures as they are; beside a renderer, the key of its version."""
CAMERAS = ".cameras"
"""Ends the name of a setting that says what is known of a source's cameras."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the card says, gathered from plan and commits."""

    objects: int
    views: int
    uncaptioned: int
    """Views whose captions are null."""
    failed: int
    removed: int
    splits: Mapping[str, int]
    """Rows of each split that has any."""
    categories: Counter[str]
    credits: Counter[tuple[str, str, str]]
    """Objects of each (licence, creator, source)."""
    renderer: Mapping[str, Any]
    captioner: Mapping[str, Any]
    render: Mapping[str, Any]
    """Settings that the committed pictures were made with."""
    captions: Mapping[str, Any]
    """Settings that the committed captions were made with."""

    rendered: bool
    """Whether some of the pictures came from a renderer."""
    posed: int
    """Views whose camera is known."""

    @property
    def imported(self) -> bool:
        """Whether some of the pictures came as they are instead of from a renderer."""
        return "pictures" in self.render


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
        config: gives the dataset's name, and the settings where the recorded ones were lost.
        figures: what was measured of the captions; None where there are none.
        control: what captions without guidance name; None where nobody tried.
        leaks: what evaluation and training might share; None where nobody looked.
    """
    facts = _gather(store, plan, config)
    measured = [*(_leaks(leaks) if leaks else []), *(_captions(facts, figures, control) if figures else [])]
    scored = bool(figures and figures.clip_scores)
    text = (
        f"---\n{_metadata(facts, config, scored=scored).to_yaml()}\n---\n\n{_body(facts, config, measured)}"
    )
    files.write_bytes(store.root / "README.md", redacted(text).encode())


def describe_settings(store: Store, plan: Plan, config: Config) -> dict[str, str]:
    """Return what decided a dataset's pictures and captions, in words for a table."""
    return {name: str(value) for name, value in _settings(_gather(store, plan, config))}


def _gather(store: Store, plan: Plan, config: Config) -> _Facts:
    data = {shard.index: store.read_commit(CAPTION, shard.index) for shard in plan.shards}
    held = [commit for commit in data.values() if commit]
    rendered = [c for shard in plan.shards if (c := store.read_commit(RENDER, shard.index))]
    captioned = [commit for commit in held if not commit.uncaptioned]
    defaults = producing_settings(RenderConfig())  # what a version did not record yet was as it is by default
    configured = {"seed": config.seed, **producing_settings(config.render)}
    views = Counter({uid: count for commit in held for uid, count in commit.views.items()})
    present = [item for item in store.read_objects() if item.uid in views]
    removed = len(store.read_removals())
    splits: Counter[str] = Counter()
    for shard in plan.shards:
        splits[shard.split] += commit.rows if (commit := data[shard.index]) else 0
    committed = _committed_settings(store, RENDER, rendered) or configured
    return _Facts(
        objects=len(present),
        views=views.total(),
        uncaptioned=sum(commit.rows for commit in held if commit.uncaptioned),
        failed=sum(len(shard.uids) for shard in plan.shards)
        + len(store.read_listing_failures())
        - len(present)
        - removed,
        removed=removed,
        splits={split: rows for split, rows in splits.items() if rows},
        categories=Counter(item.category for item in present),
        credits=Counter(
            (item.record.license or "unknown", item.record.creator or "unknown", item.record.source)
            for item in present
        ),
        renderer=_made_by([c for c in rendered if c.made_by.get("name") != IMPORTER] or rendered),
        captioner=_made_by(captioned),
        render=defaults | committed,
        captions=_committed_settings(store, CAPTION, captioned) or producing_settings(config.captions),
        rendered="views" in committed,
        posed=_posed_views(store, held) if "pictures" in committed else views.total(),
    )


def _posed_views(store: Store, commits: Iterable[Commit]) -> int:
    """Count the views with a camera, from the statistics in the footers of the data's files."""
    return sum(filled_rows(store.root / commit.file, "distance") for commit in commits if commit.file)


def _made_by(commits: Iterable[Commit]) -> Mapping[str, Any]:
    return next((commit.made_by for commit in commits if commit.made_by), {})


def _committed_settings(store: Store, stage: StageName, commits: Iterable[Commit]) -> dict[str, Any]:
    """Look up what a stage's shards were made with; a complete dataset has one such answer."""
    return next((found for commit in commits if (found := store.settings(stage, commit.settings))), {})


def _metadata(facts: _Facts, config: Config, *, scored: bool) -> DatasetCardData:
    data_files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in facts.splits]
    licenses = sorted({HUB_LICENSES.get(license_name, "other") for license_name, _, _ in facts.credits})
    return DatasetCardData(
        pretty_name=config.name,
        license=licenses[0] if len(licenses) == 1 else licenses,
        task_categories=["image-to-text", "zero-shot-image-classification"],
        size_categories=next((name for limit, name in SIZES if facts.views < limit), "1M<n<10M"),
        tags=["multi-view", "3d", "viewpoint-robustness", "mvcap"],
        configs=[
            {"config_name": "default", "data_files": data_files, "default": True},
            {"config_name": "objects", "data_files": "objects.parquet"},
            {"config_name": "failures", "data_files": "failures.parquet"},
            *([{"config_name": "caption_scores", "data_files": "caption_scores.parquet"}] if scored else []),
        ],
    )


def _body(facts: _Facts, config: Config, measured: Iterable[str]) -> str:
    parts = [
        f"# {_text(config.name)}",
        f"{facts.views} views of {facts.objects} objects in {len(facts.categories)} categories, "
        f"each view with {_what_views_have(facts)}. Made with mvcap {__version__}, in the manner of MVCap "
        "(Omniview-Tuning, ECCV 2024).",
        _table(["split", "views"], facts.splits.items()),
        *_warnings(facts),
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        'views = load_dataset("PATH_OR_NAME", split="train")\n'
        'print(views[0]["caption"], views[0]["image"])\n```\n\n'
        "`objects.parquet` has a row for each object (category, creator, licence, status), "
        "`failures.parquet` one for each object or view that failed.",
        *_camera_notes(facts),
        "## How it was made\n\n" + _table(["setting", "value"], _settings(facts)),
        *measured,
        "## Categories\n\n" + _table(["category", "objects"], sorted(facts.categories.items())),
        "## Licences and attribution\n\nEvery object keeps its own licence; `objects.parquet` names the "
        "creator, licence and origin of each one, and every row of the data repeats them.\n\n"
        + _table(
            ["licence", "creator", "source", "objects"],
            [(*who, n) for who, n in sorted(facts.credits.items())],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _what_views_have(facts: _Facts) -> str:
    if facts.posed == facts.views:
        return "a camera and a caption"
    return f"a caption, {facts.posed} with a camera" if facts.posed else "a caption"


def _camera_notes(facts: _Facts) -> Iterable[str]:
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


def _captions(facts: _Facts, figures: CaptionFigures, control: ControlFigures | None) -> Iterable[str]:
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


def _warnings(facts: _Facts) -> Iterable[str]:
    if facts.captioner.get("untrained"):
        yield (
            "> **The captions come from an untrained model.** They are random words that show the pipeline "
            "at work; write real ones with `mvcap caption`."
        )
    if facts.captioner.get("toy"):
        yield (
            "> **The captions come from a toy.** The small model that ships with mvcap repeats the prompt's "
            "category, adds a colour and a point of view, is right about these as often as its own card "
            "says, and knows nothing else; write real ones with `mvcap caption`."
        )
    if facts.uncaptioned:
        some = "The" if facts.uncaptioned == facts.views else f"{facts.uncaptioned} of {facts.views}"
        yield f"> {some} views have no captions yet; `mvcap caption` writes them."
    if facts.failed:
        yield f"{facts.failed} objects failed; `failures.parquet` says why."
    if facts.removed:
        yield f"{facts.removed} objects were removed after the build; `objects.parquet` says which and why."


def _settings(facts: _Facts) -> Iterable[tuple[str, object]]:
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


def _render_settings(facts: _Facts) -> Iterable[tuple[str, object]]:
    render = facts.render
    yield "renderer", _renderer(facts.renderer)
    yield "preset, samples", f"{render['preset']}, {render['samples'] or 'as the preset says'}"
    yield "light, view transform", f"{render['light']}, {render['view_transform']}"
    pictures = render.get("backgrounds.pictures")
    yield "background", f"{pictures} pictures" if pictures else render["background"]
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
    """Make any text safe inside a Markdown table: names come from strangers."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|").replace("`", "\\`")
