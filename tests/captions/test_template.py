import pytest
from PIL import Image

from captions.backends.template import Options, create
from captions.quality import assess_caption
from captions.vocabulary import build_vocabulary


@pytest.mark.parametrize(
    ("category", "caption"),
    [
        ("tench", "a photo of a tench."),
        ("airliner", "a photo of an airliner."),
        ("American robin", "a photo of an American robin."),
        ("unicycle", "a photo of a unicycle."),
        ("umbrella", "a photo of an umbrella."),
        ("iPod", "a photo of an iPod."),
    ],
)
def test_the_caption_is_the_prompt_with_the_right_article(category, caption):
    written = create(Options()).caption([Image.new("RGB", (8, 8))], [f"a photo of a {category}."])
    assert written == [caption]
    assert create(Options()).caption_again([], []) is None


def test_a_template_is_no_echo_and_names_its_category(tmp_path):
    vocabulary = build_vocabulary(["airliner", "tench"], "table", tmp_path)
    prompt = "a photo of a airliner."
    (caption,) = create(Options()).caption([Image.new("RGB", (8, 8))], [prompt])
    quality = assess_caption(caption, prompt=prompt, category="airliner", vocabulary=vocabulary)
    assert (quality.category_match, quality.flags) == ("exact", ())
