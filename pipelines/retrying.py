"""Try again what failed, with the settings that a dataset was built with."""

from collections.abc import Callable

from mvcap.config import Config
from mvcap.places import Place
from mvcap.storage import Store
from pipelines.build_all import build
from pipelines.second_tries import Selection, cut_off, find_failures, is_captioned, require_known
from pipelines.stages import Runner
from pipelines.surveying import Outcome
from pipelines.todo import Request


def retry(
    config: Config,
    out: Place,
    selection: Selection,
    runner: Runner,
    say: Callable[[str], None],
    *,
    steal_lock: bool = False,
) -> Outcome:
    """Try the selected failures again, and leave everything else as it is.

    Args:
        config: the dataset's own; only what does not change the result, such as deadlines, may differ.

    Raises:
        UsageError: the folder holds no dataset; the selection names what there is not; or a setting differs.
        NothingSurvivedError: every object failed again.
    """
    store = Store(out)
    plan = store.require_plan()
    require_known(store, selection)
    if not (any(find_failures(store, plan, selection).values()) or cut_off(store, plan)):
        say("nothing of what is asked for has failed: there is nothing to try again")
    request = Request(out, caption=is_captioned(store, plan), again=selection, steal_lock=steal_lock)
    return build(config, request, runner, say)
