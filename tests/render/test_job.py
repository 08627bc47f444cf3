"""Both ends of the pipe speak the same language."""

import ast
import json
from pathlib import Path

import numpy as np

import render.job
from render.cameras import Viewpoint
from render.job import (
    HEADER,
    PREAMBLE,
    RenderJob,
    decode_message,
    encode_message,
    load_message,
    paste,
    setup_message,
)
from render.lights import RIGS
from render.stage import make_scene

SCENE = make_scene(
    resolution=64,
    lens_mm=35.0,
    sensor_mm=32.0,
    light="studio",
    preset="physical",
    samples=None,
    view_transform="Standard",
)


def test_a_message_says_how_long_it_is():
    data = encode_message({"kind": "x", "name": "é"}, b"\x00\x01")
    text_length, payload_length = HEADER.unpack_from(data)
    assert payload_length == 2
    assert decode_message(data[12 : 12 + text_length]) == {"kind": "x", "name": "é"}
    assert data[12 + text_length :] == b"\x00\x01"


def test_the_child_has_the_same_preamble_and_header():
    source = (Path(render.job.__file__).with_name("blender_child") / "main.py").read_text()
    constants = {
        node.targets[0].id: ast.unparse(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(constants["PREAMBLE"]) == PREAMBLE
    assert constants["HEADER"] == f"struct.Struct({HEADER.format!r})"


def test_the_set_up_is_plain_json_and_names_every_setting():
    message = json.loads(json.dumps(setup_message(SCENE)))
    assert message["sampling"]["efforts"][0] == {"samples": 8, "oversampling": 1}
    assert message["light"]["ambient"] == RIGS["studio"].ambient
    assert [lamp["kind"] for lamp in message["light"]["lamps"]] == ["sun", "sun"]


def test_a_rotation_is_sent_row_by_row_or_not_at_all():
    turned = RenderJob("u", "a.obj", tuple(range(9)), (Viewpoint(0, 0),), 1.5, 0.04, SCENE)
    assert load_message(turned) == {"kind": "load", "asset": "a.obj", "rotation": list(range(9))}


def test_a_crop_is_pasted_where_its_border_was():
    frame = paste(np.full((2, 3, 4), 9, dtype=np.uint8), (4, 5, 7, 7), 10)
    assert frame.shape == (10, 10, 4)
    assert (frame[5:7, 4:7] == 9).all()
    assert frame.sum() == 2 * 3 * 4 * 9
