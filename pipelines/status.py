"""How far a dataset is, read from its plan and commit records alone."""

from pathlib import Path
from typing import Any

from mvcap.commits import STAGES
from mvcap.storage import Store
from pipelines.finish import survey


def dataset_status(root: Path) -> dict[str, Any]:
    """Count shards, objects, views and failures of a dataset, built or being built.

    Raises:
        OutputError: the folder holds no dataset.
    """
    store = Store(root)
    plan = store.require_plan()
    outcome = survey(store, plan)
    stages = {}
    for stage in STAGES:
        found = [commit for shard in plan.shards if (commit := store.find_commit(stage, shard))]
        commits = [commit for commit in found if not commit.uncaptioned]
        seconds = sum(commit.seconds for commit in commits)
        rows = sum(commit.rows for commit in commits)
        stages[stage] = {
            "shards_done": len(commits),
            "views": rows,
            "views_per_worker_second": round(rows / seconds, 3) if seconds else None,
        }
    return {
        "dataset": str(root),
        "complete": outcome.complete and not outcome.uncaptioned,
        "shards": len(plan.shards),
        "objects": outcome.objects,
        "objects_done": outcome.done,
        "views": outcome.views,
        "uncaptioned_views": outcome.uncaptioned,
        "stages": stages,
        "failures": dict(outcome.reasons),
        "untrained_captions": outcome.untrained_captions,
    }


def describe(state: dict[str, Any]) -> str:
    """Say a status in a few lines."""
    lines = [
        f"{state['dataset']}: {'complete' if state['complete'] else 'unfinished'}",
        f"  objects  {state['objects_done']} of {state['objects']} done, {state['views']} views",
    ]
    for name, stage in state["stages"].items():
        rate = stage["views_per_worker_second"]
        speed = f", {rate:.2f} views/s for each worker" if rate else ""
        lines.append(
            f"  {name:8} {stage['shards_done']} of {state['shards']} shards, {stage['views']} views{speed}"
        )
    if state["uncaptioned_views"]:
        lines.append(f"  no caption yet: {state['uncaptioned_views']} views; `mvcap caption` writes them")
    for reason, count in state["failures"].items():
        lines.append(f"  failed   {count} x {reason}")
    return "\n".join(lines)
