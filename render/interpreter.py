"""Which program runs Blender, and how it is started."""

import importlib.util
import shutil
import sys
from pathlib import Path

from mvcap.errors import RendererUnavailableError

CHILD_SCRIPT = Path(__file__).with_name("blender_child") / "main.py"
REMEDY = (
    "install it with `pip install 'mvcap[blender]'` (Python 3.11), or set `render.blender` to a Blender "
    "binary or to a Python that has bpy"
)


def find_interpreter(configured: str | None) -> str:
    """Return the program to start: the configured one, else this Python where it has bpy.

    Raises:
        RendererUnavailableError: the configured program does not exist, or this Python has no bpy.
    """
    if configured is not None:
        if (found := shutil.which(str(Path(configured).expanduser()))) is None:
            raise RendererUnavailableError(
                f"render.blender={configured!r} is not an executable file: {REMEDY}"
            )
        return found
    if importlib.util.find_spec("bpy") is None:
        raise RendererUnavailableError(f"this Python ({sys.version.split()[0]}) has no bpy: {REMEDY}")
    return sys.executable


def child_command(interpreter: str) -> list[str]:
    """Return the command line of a child.

    A program whose name starts with `blender` (or `Blender`, as on macOS) is taken for a Blender binary;
    everything else is started like a Python, isolated from the user's environment and site packages.
    """
    if Path(interpreter).name.lower().startswith("blender"):
        return [interpreter, "--background", "--factory-startup", "--python", str(CHILD_SCRIPT)]
    return [interpreter, "-I", str(CHILD_SCRIPT)]
