"""A child without Blender: every object is a cube, every picture a plain white crop."""

import io
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from misbehaviour import Misbehaviour
from PIL import Image

HEADER = struct.Struct(">IQ")
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], dtype="<f4")


def reply(message: dict, payload: bytes = b"") -> None:
    text = json.dumps(message).encode()
    sys.stdout.buffer.write(HEADER.pack(len(text), len(payload)) + text + payload)
    sys.stdout.buffer.flush()


def picture(border: list[int]) -> bytes:
    x_min, y_min, x_max, y_max = border
    file = io.BytesIO()
    Image.new("RGBA", (x_max - x_min, y_max - y_min), "#808080").save(file, "PNG")
    return file.getvalue()


def main() -> None:
    misbehaviour = Misbehaviour()
    (Path(tempfile.gettempdir()) / "puppet").touch()
    print("Blender 9.9 (says a binary before it runs a script)", flush=True)
    sys.stdout.buffer.write(b"\x00mvcap-blender-child-1\n")
    reply({"kind": "hello", "versions": {"blender": "puppet"}})
    while header := sys.stdin.buffer.read(HEADER.size):
        message = json.loads(sys.stdin.buffer.read(HEADER.unpack(header)[0]))
        misbehaviour.listen(message)
        if message["kind"] == "setup":
            reply({"kind": "done", "device": "CPU"})
        elif message["kind"] == "view":
            time.sleep(float(os.environ.get("MVCAP_PUPPET_VIEW_S", "0")))
            reply({"kind": "picture"}, picture(message["border"]))
        elif "refuse" in message["asset"]:
            reply({"kind": "failed", "message": "no such thing", "traceback": "Traceback: line 7"})
        else:
            print("loading", os.path.basename(message["asset"]), file=sys.stderr, flush=True)  # noqa: PTH119
            facts = {"triangles": 12, "vertices": 8, "nonfinite_vertices": 0, "outlier_faces": 0}
            facts |= {"textures": 0, "missing_textures": [], "coloured": True}
            reply({"kind": "loaded", "size": 1.0, **facts}, CUBE.tobytes())


main()
