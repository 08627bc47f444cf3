"""CPU time of this process and all below it, by what they do for a build."""

from collections.abc import Iterator

import psutil

from render.interpreter import CHILD_SCRIPT

BLENDER, RENDERERS, CAPTIONER, BOARD, DRIVER, RAY = KINDS = (
    "Blender",
    "renderers",
    "captioner",
    "board",
    "driver",
    "Ray itself",
)


def cpu_by_kind() -> dict[str, float]:
    """Add up the CPU-seconds of the processes there are, and of those they have outlived.

    A runner that works in threads is all `driver`.
    """
    processes = dict(_processes())
    parents = {parent for command, parent, _ in processes.values() if str(CHILD_SCRIPT) in command}
    own = psutil.Process().pid
    times = dict.fromkeys(KINDS, 0.0)
    for pid, (command, _, seconds) in processes.items():
        if pid == own:
            kind = DRIVER
        elif str(CHILD_SCRIPT) in command:
            kind = BLENDER
        elif pid in parents:
            kind = RENDERERS
        elif command.startswith("ray::ShardActor"):
            kind = CAPTIONER
        else:
            kind = BOARD if command.startswith("ray::Board") else RAY
        times[kind] += seconds
    return times


def _processes() -> Iterator[tuple[int, tuple[str, int, float]]]:
    """Yield pids with command line, parent and seconds."""
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            with process.oneshot():
                command, parent = " ".join(process.cmdline()), process.ppid()
                times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        yield (
            process.pid,
            (command, parent, times.user + times.system + times.children_user + times.children_system),
        )
