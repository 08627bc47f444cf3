"""The real child in the real Blender, which misbehaves at the requests that say so."""

import json
import runpy
import sys

from misbehaviour import Misbehaviour

misbehaviour = Misbehaviour()
understand = json.loads


def listen(text):
    message = understand(text)
    if isinstance(message, dict):
        misbehaviour.listen(message)
    return message


json.loads = listen
runpy.run_path(sys.argv[-1], run_name="__main__")
