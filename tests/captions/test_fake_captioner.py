import time

import pydantic
import pytest
from PIL import Image

from captions.backends import fake


def test_caption_names_colour_and_category():
    with fake.create(fake.Options()) as captioner:
        images = [Image.new("RGB", (4, 4), colour) for colour in ("#000000", "#f0a0b0")]
        assert captioner.caption(images, ["The main thing is a chair.", "Describe it."]) == [
            "a black picture of a chair",
            "a pink picture of something: Describe it.",
        ]


def test_empty_for_silences_matching_prompts():
    captioner = fake.create(fake.Options(empty_for=("chair", "lamp")))
    image = Image.new("RGB", (4, 4))
    assert captioner.caption([image] * 2, ["it is a chair", "it is a table"]) == [
        "",
        "a black picture of a table",
    ]


def test_stutter_for_loops_until_it_is_asked_again():
    captioner = fake.create(fake.Options(stutter_for=("chair",)))
    image, prompt = Image.new("RGB", (4, 4)), "it is a chair"
    once = "a black picture of a chair"
    assert captioner.caption([image], [prompt]) == [f"{once} {once} {once}"]
    assert captioner.caption_again([image], [prompt]) == [once]


def test_every_picture_takes_its_time():
    captioner = fake.create(fake.Options(image_seconds=0.02))
    start = time.perf_counter()
    captioner.caption([Image.new("RGB", (4, 4))] * 5, ["x"] * 5)
    assert time.perf_counter() - start >= 0.1


def test_unknown_option_is_an_error():
    with pytest.raises(pydantic.ValidationError, match="image_secs"):
        fake.Options.model_validate({"image_secs": 1})
