"""Start an embedded Ray and let a worker of it do something; run in a process of its own."""

import sys

from mvcap.errors import MvcapError


def main() -> None:
    """Print what works, or end with exit code 1 and the reason on stderr."""
    from pipelines.runners.ray_environment import prepare

    prepare(None)  # before Ray is imported
    from pipelines.runners.ray import RayRunner

    try:
        (answer,) = RayRunner().map(_worker_python, [()])
    except MvcapError as error:
        sys.exit(" ".join(str(error).split()))
    print(f"a worker ran a task, on Python {answer}")


def _worker_python(_: object) -> str:
    return sys.version.split()[0]
