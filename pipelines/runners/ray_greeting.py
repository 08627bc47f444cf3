"""Ask a cluster's head whether it wants a token: `python -P -m pipelines.runners.ray_greeting HOST:PORT`.

Run in a process of its own, because Ray reads once whether it is to use a token, when it is imported, and may
go on asking for ever where something else listens.
"""

import sys
from typing import Final

from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from pipelines.runners.ray_environment import ANSWER_S, WANTS_TOKEN

OPEN: Final = "open"


def main() -> None:
    """Greet without a token, and print what the head makes of it."""
    try:
        GcsClient(address=sys.argv[1]).check_alive([], timeout=int(ANSWER_S))
    except AuthenticationError:
        print(WANTS_TOKEN)
    else:
        print(OPEN)


if __name__ == "__main__":
    main()
