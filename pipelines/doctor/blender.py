"""Blender: that there is one, that it starts, and that it renders."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mvcap.config import Config
from mvcap.errors import MvcapError
from pipelines.doctor.findings import Finding

NAME: Final = "Blender"
TRIAL: Final = {"views": 1, "resolution": 64, "preset": "fast", "samples": None, "backgrounds": None}
"""What is rendered, besides the configured light, device and Blender."""
DEADLINE_S: Final = 120.0
BPY_LIBRARIES: Final = "libgl1 libegl1 libsm6 libxfixes3 libxi6 libxkbcommon0 libxrender1 libxxf86vm1"
"""Debian packages that a bpy wheel links against."""
REMEDY: Final = (
    "on Python 3.11: pip install 'mvcap[blender]'; else: --set render.blender=/path/to/blender\n"
    f"if bpy misses libraries: apt-get install {BPY_LIBRARIES}"
)
LEAST_FOREGROUND: Final = 0.05
"""Share of the picture that a cube covers at the least, in front of any camera of ours."""

CUBE: Final = """\
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
f 1 4 3 2
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""


def check_blender(config: Config) -> Iterator[Finding]:
    """Render a cube, with a deadline, and look at the picture."""
    from mvcap.records import ObjectRecord, Rejected, SelectedObject
    from pipelines.rendering import open_renderer, stage_arguments
    from render.stage import render_objects

    trial = _hurried(config)
    try:
        with TemporaryDirectory(prefix="mvcap-doctor-") as folder, open_renderer(trial) as renderer:
            model = Path(folder) / "cube.obj"
            model.write_text(CUBE)
            record = ObjectRecord("doctor-cube", "doctor", "cube", "cube", str(model), None, None, None)
            views = render_objects([SelectedObject(record, "cube")], renderer, **stage_arguments(trial))
            (outcome,) = list(views)
            versions = ", ".join(f"{name} {value}" for name, value in renderer.versions().items())
    except MvcapError as error:
        first, *words = str(error).strip().splitlines()
        yield Finding(NAME, False, first, "\n".join([*_telling(words), REMEDY]))
        return
    if isinstance(outcome, Rejected):
        first, *words = outcome.message.splitlines()
        log = (outcome.log_tail or "").splitlines()
        yield Finding(NAME, False, f"no cube: {outcome.reason}: {first}", "\n".join([*_telling(log), REMEDY]))
        return
    seen = outcome.foreground_fraction or 0.0
    detail = f"rendered a cube; {versions}"
    yield Finding(NAME, seen > LEAST_FOREGROUND, detail, f"the cube covers {seen:.0%} of the picture")


def _hurried(config: Config) -> Config:
    """Return the configuration with a small picture of plain views, and short deadlines of the child."""
    options = config.render.options
    limits = {"attempts": 1, "start_timeout_s": DEADLINE_S, "object_timeout_s": DEADLINE_S}
    known = {name: value for name, value in limits.items() if hasattr(options, name)}
    if known and not isinstance(options, dict):
        options = options.model_copy(update=known)
    render = config.render.model_copy(update={**TRIAL, "extras": (), "options": options})
    return config.model_copy(update={"render": render})


def _telling(lines: list[str]) -> list[str]:
    """Keep a few lines of a log's end, where a missing library is named."""
    return [line.strip() for line in lines if line.strip()][-4:]
