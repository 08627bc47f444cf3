"""What a folder of results holds already: an evaluation of other sets adds to it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mvcap.errors import OutputError
from training.run_files import RESULTS

SAME: Final = ("model", "run", "step", "interpolate", "templates")
"""What one folder's results have in common."""
OF_A_SUITE: Final = ("suite", "groups", "gaps")


def read_earlier(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the results in a folder; None where there are none.

    Args:
        facts: of the evaluation to come, with a value for each of `SAME`.

    Raises:
        OutputError: they are of another model, or were measured otherwise, and would be lost or mixed up.
    """
    try:
        earlier: dict[str, Any] = json.loads((folder / RESULTS).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder / RESULTS} cannot be read; name another folder with --out") from error
    now = json.loads(json.dumps({key: facts[key] for key in SAME}))  # as it will be read
    if changed := [key for key in SAME if earlier.get(key, now[key]) != now[key]]:
        told = "; ".join(f"{key} {earlier[key]} there, {now[key]} now" for key in changed)
        raise OutputError(
            f"{folder} holds results that were measured otherwise ({told}): name another folder with --out, "
            "or remove that one"
        )
    return earlier


def joined(earlier: Mapping[str, Any] | None, report: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a report the sets that it lacks, and a suite's averages unless one of its sets has changed."""
    if earlier is None:
        return dict(report)
    fresh = {told["name"] for told in report["sets"]}
    kept = [told for told in earlier["sets"] if told["name"] not in fresh]
    averaged = {name for group in earlier.get("groups", ()) for name in group["sets"]}
    averages = {} if averaged & fresh else {key: earlier[key] for key in OF_A_SUITE if key in earlier}
    return {**averages, **report, "sets": [*kept, *report["sets"]]}
