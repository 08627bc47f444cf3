"""The dataset card: what a dataset holds, where it comes from, and how to load it."""

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import DatasetCardData

from mvcap import __version__, files
from mvcap.commits import CAPTION, RENDER, Commit
from mvcap.config import Config
from mvcap.plan import Plan
from mvcap.schema import CAMERA_CONVENTION
from mvcap.storage import Store

HUB_LICENSES = {
    "CC0-1.0": "cc0-1.0",
    "CC-BY-3.0": "cc-by-3.0",
    "CC-BY-3.0-US": "cc-by-3.0",
    "CC-BY-4.0": "cc-by-4.0",
}
"""The hub's own names; what is not listed becomes `other`."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the card says, gathered from plan and commits."""

    objects: int
    views: int
    failed: int
    splits: Mapping[str, int]
    """Rows of each split that has any."""
    categories: Counter[str]
    credits: Counter[tuple[str, str, str]]
    """Objects of each (licence, creator, source)."""
    renderer: Mapping[str, Any]
    captioner: Mapping[str, Any]


def write_card(store: Store, plan: Plan, config: Config) -> None:
    """Write `README.md` from the plan, the commit records and the configuration."""
    facts = _gather(store, plan)
    text = f"---\n{_metadata(facts, config).to_yaml()}\n---\n\n{_body(facts, config)}"
    files.write_bytes(store.root / "README.md", text.encode())


def _gather(store: Store, plan: Plan) -> _Facts:
    data = {shard.index: store.read_commit(CAPTION, shard.index) for shard in plan.shards}
    held = [commit for commit in data.values() if commit]
    views = Counter({uid: count for commit in held for uid, count in commit.views.items()})
    present = [item for item in store.read_objects() if item.uid in views]
    splits: Counter[str] = Counter()
    for shard in plan.shards:
        splits[shard.split] += commit.rows if (commit := data[shard.index]) else 0
    return _Facts(
        objects=len(present),
        views=views.total(),
        failed=sum(len(shard.uids) for shard in plan.shards)
        + len(store.read_listing_failures())
        - len(present),
        splits={split: rows for split, rows in splits.items() if rows},
        categories=Counter(item.category for item in present),
        credits=Counter(
            (item.record.license or "unknown", item.record.creator or "unknown", item.record.source)
            for item in present
        ),
        renderer=_made_by(store.read_commit(RENDER, shard.index) for shard in plan.shards),
        captioner=_made_by(held),
    )


def _made_by(commits: Iterable[Commit | None]) -> Mapping[str, Any]:
    return next((commit.made_by for commit in commits if commit and commit.made_by), {})


def _metadata(facts: _Facts, config: Config) -> DatasetCardData:
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
        ],
    )


def _body(facts: _Facts, config: Config) -> str:
    parts = [
        f"# {_text(config.name)}",
        f"{facts.views} views of {facts.objects} objects in {len(facts.categories)} categories, "
        f"each view with a camera and a caption. Made with mvcap {__version__}, in the manner of MVCap "
        "(Omniview-Tuning, ECCV 2024).",
        _table(["split", "views"], facts.splits.items()),
        *_warnings(facts),
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        'views = load_dataset("PATH_OR_NAME", split="train")\n'
        'print(views[0]["caption"], views[0]["image"])\n```\n\n'
        "`objects.parquet` has a row for each object (category, creator, licence, status), "
        "`failures.parquet` one for each object or view that failed.",
        f"## Cameras\n\n{CAMERA_CONVENTION}",
        "## How it was made\n\n" + _table(["setting", "value"], _settings(facts, config)),
        "## Categories\n\n" + _table(["category", "objects"], sorted(facts.categories.items())),
        "## Licences and attribution\n\nEvery object keeps its own licence; `objects.parquet` names the "
        "creator, licence and origin of each one, and every row of the data repeats them.\n\n"
        + _table(
            ["licence", "creator", "source", "objects"],
            [(*who, n) for who, n in sorted(facts.credits.items())],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(facts: _Facts) -> Iterable[str]:
    if facts.captioner.get("untrained"):
        yield (
            "> **The captions come from an untrained model.** They are random words that show the pipeline "
            "at work; write real ones with `mvcap caption`."
        )
    if not facts.captioner:
        yield "> The views have no captions yet; `mvcap caption` writes them."
    if facts.failed:
        yield f"{facts.failed} objects failed; `failures.parquet` says why."


def _settings(facts: _Facts, config: Config) -> Iterable[tuple[str, object]]:
    render, captions = config.render, config.captions
    yield "renderer", " ".join(str(value) for value in facts.renderer.values())
    yield "preset, samples", f"{render.preset}, {render.samples or 'as the preset says'}"
    yield "light, view transform", f"{render.light}, {render.view_transform}"
    yield "background", render.background
    yield "resolution", f"{render.resolution} px"
    yield (
        "cameras",
        f"upper hemisphere, uniform by area; lens {render.camera.lens_mm} mm on {render.camera.sensor_mm} mm",
    )
    yield "captioner", facts.captioner.get("name", "none")
    if facts.captioner:
        yield "prompt", captions.prompt
    yield "seed", config.seed


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: object) -> str:
    """Make any text safe inside a Markdown table: names come from strangers."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|").replace("`", "\\`")
