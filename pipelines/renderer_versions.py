"""One version of the renderer for one dataset: another one draws other pixels."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvcap.commits import IMPORTER, RENDER
from mvcap.config import Config
from mvcap.errors import MixedRenderersError
from mvcap.holds import Hold
from mvcap.plan import Plan
from mvcap.storage import Store

NO_VERSIONS: Final = frozenset({"name", "device", "before", IMPORTER})
"""What else a commit record tells of who did the work. A GPU's pixels differ from a CPU's in the last bits
only, and a cluster may have both."""

Versions = Mapping[str, str]


def versions_of(made_by: Mapping[str, Any]) -> dict[str, str]:
    """Return the renderer's versions that a commit record tells; none where nothing was rendered."""
    if made_by.get("name") == IMPORTER:
        return {}
    return {name: str(value) for name, value in made_by.items() if name not in NO_VERSIONS}


def committed_versions(store: Store, plan: Plan) -> list[dict[str, str]]:
    """List the different versions that a dataset was rendered by, in the plan's order."""
    found: list[dict[str, str]] = []
    for commit in store.read_commits(plan, RENDER):
        if (versions := versions_of(commit.made_by)) and versions not in found:
            found.append(versions)
    return found


def refuse_other_versions(config: Config, present: Versions, committed: Sequence[Versions]) -> None:
    """Refuse to go on with another version than the dataset's.

    Raises:
        MixedRenderersError: with both versions.
    """
    own = versions_of(present)
    if other := next((versions for versions in committed if versions != own), None):
        _refuse(config, f"this dataset was rendered by {describe(other)}, and here is {describe(own)}")


def refuse_other_slices(config: Config, present: Versions, hold: Hold) -> None:
    """Refuse to work beside a slice that renders by another version.

    Raises:
        MixedRenderersError: with both versions.
    """
    own = versions_of(present)
    for slice_ in hold.slices_at_work():
        if (other := slice_.facts.get("renderer")) and other != own and slice_.lives():
            where = slice_.facts.get("host")
            _refuse(
                config,
                f"another slice, on {where}, renders by {describe(other)}, this one by {describe(own)}",
            )


def refuse_another_node(config: Config, here: Versions, expected: Versions | None) -> None:
    """Refuse to be a worker with another version than the driver's.

    Args:
        expected: the driver's versions; None where it did not look.

    Raises:
        MixedRenderersError: with both versions and this node's name.
    """
    own = versions_of(here)
    if expected is not None and own != (driver := versions_of(expected)):
        _refuse(config, f"node {platform.node()} has {describe(own)}, the driver {describe(driver)}")


def describe(versions: Versions) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "nothing"


def _refuse(config: Config, what: str) -> None:
    if not config.run.mixed_renderers:
        raise MixedRenderersError(
            f"{what}: name the same version with render.blender, build into another folder with --out, or "
            "allow both with --set run.mixed_renderers=true; every row and commit says which one made it"
        )
