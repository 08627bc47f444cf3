"""The script that a child runs; `render/job.py` describes the conversation it holds.

It is started as `python main.py`, where that Python has bpy, or as `blender --background
--factory-startup --python main.py`. One child renders many objects, one after the other, and keeps nothing
of an object once the next one is asked for.
"""

import ctypes
import faulthandler
import json
import os
import signal
import struct
import sys
import traceback
import types
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    # Importers and Cycles print to descriptor 1 from C++: from here on that is the log, and the pipe to
    # the parent has a number that only this script knows. It has to happen before bpy is loaded.
    REPLIES_FD = os.dup(1)
    os.dup2(2, 1)
    # Let this package be found, and nothing else of what is installed beside it.
    package = types.ModuleType("render")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["render"] = package

import bpy

PREAMBLE = b"\x00mvcap-blender-child-1\n"
HEADER = struct.Struct(">IQ")
PR_SET_PDEATHSIG = 1
Message = dict[str, Any]


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process with its parent, even in the middle of a render."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def read_message(requests: BinaryIO) -> Message | None:
    """Read one request; None at the end of the pipe, which means that the parent is gone."""
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text_length, payload_length = HEADER.unpack(header)
    message: Message = json.loads(requests.read(text_length))
    requests.read(payload_length)
    return message


def write_message(replies: BinaryIO, message: Message, payload: bytes = b"") -> None:
    text = json.dumps(message).encode()
    replies.write(HEADER.pack(len(text), len(payload)) + text)
    replies.write(payload)
    replies.flush()


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the parent closes the pipe."""
    replies.write(PREAMBLE)
    write_message(replies, {"kind": "hello", "versions": {"blender": bpy.app.version_string}})
    # The modules beside bpy can be found only once it is loaded.
    from render.blender_child.studio import Studio

    studio: Studio | None = None
    while (request := read_message(requests)) is not None:
        try:
            if request["kind"] == "setup":
                studio = Studio(request)
                reply, payload = {"kind": "done", "device": studio.device}, b""
            else:
                assert studio is not None, "the parent sends setup first"
                work = {"load": studio.load, "view": studio.view, "passes": studio.view_passes}
                reply, payload = work[request["kind"]](request)
        # Importers are Python code by many hands and raise anything at all: whatever it is, it is the
        # parent's to judge, and this child goes on.
        except Exception as error:  # noqa: BLE001
            reply = {"kind": "failed", "message": str(error).strip(), "traceback": traceback.format_exc()}
            payload = b""
        write_message(replies, reply, payload)


def main() -> None:
    die_with_parent()
    faulthandler.enable()
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(requests, os.fdopen(REPLIES_FD, "wb"))
    sys.stderr.flush()
    os._exit(0)  # Blender's own exit frees gigabytes in order, for nobody


if __name__ == "__main__":
    main()
