"""What `mvcap plan` prints, and `mvcap build-all --dry-run` as well."""

import json
import os
from pathlib import Path

from mvcap.cli.configuring import configure
from mvcap.places import Place


def print_plan(
    recipe: str | None,
    models: Path | None,
    overrides: list[str] | None,
    out: Place | None,
    *,
    as_json: bool,
) -> bool:
    """Print a plan; return whether everything that it needs is on this machine."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: what is not here is missing
    from mvcap.report.titles import title_of
    from mvcap.storage import Store
    from pipelines.estimating import estimate
    from pipelines.missing import find_missing
    from pipelines.plan_report import describe_plan

    config = configure(recipe, models, overrides, captions=False)
    if place := out or models:
        config = config.model_copy(update={"name": title_of(config.name, place)})
    estimated = estimate(config, Store(out) if out else None)
    findings = list(find_missing(config, estimated, out or Path.cwd()))
    if as_json:
        missing = [finding.to_json() for finding in findings]
        print(json.dumps({**estimated.to_json(), "machine": missing}, indent=1))
    else:
        print(describe_plan(estimated, findings))
    return all(finding.fine for finding in findings)
