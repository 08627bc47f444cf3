"""The closed list of words that the small captioner writes, and the sentence that they make."""

from typing import Final

CATEGORY_LIST: Final = """
animal, armchair, bag, bed, bench, bike, bookcase, bottle, bouquet, box, cabinet, camera, car, chair,
chest of drawers, clothing, coffee maker, computer, cooktop, cup, deck chair, desk, door, drinking glass,
electrical outlet, exercise machine, food, kitchen utensil, lamp, lantern, light switch,
musical instrument, oven, palm tree, pendant lamp, person, phone, plate, playground equipment,
potted plant, radiator, railing, rug, shoe, sink, sofa, sports equipment, stool, street lamp, table, tool,
towel, toy, trash can, tree, vase, wardrobe, window
"""

CATEGORIES: Final = tuple(" ".join(name.split()) for name in CATEGORY_LIST.split(","))
"""What the furniture of `mvcap.sources.sh3f` is labelled as."""

FRONTED_LIST: Final = """
armchair, bed, bookcase, cabinet, car, chair, chest of drawers, desk, oven, person, sink, sofa, wardrobe
"""

FRONTED: Final = frozenset(" ".join(name.split()) for name in FRONTED_LIST.split(","))
"""Categories whose front and back look different, of which (or of whose like) enough objects are trained
on; chosen by looking at the pictures. Animals, bikes, computers and shoes are too few."""

UNCOUNTED: Final = frozenset({"clothing", "food", "playground equipment", "sports equipment"})
"""Categories that take no article."""

UNKNOWN: Final = "object"
"""Written for an unguided prompt and for a category outside the list."""

COLOURS: Final = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "beige", "black", "grey", "white",
)  # fmt: skip

ABOVE: Final = "from above"
VIEW_PHRASES: Final = ("from the side", "from the front", "from behind", ABOVE)

CAPTION_WORDS: Final = tuple(
    dict.fromkeys(
        word
        for phrase in ("a", "an", UNKNOWN, "seen", *COLOURS, *VIEW_PHRASES, *CATEGORIES)
        for word in phrase.split()
    )
)
"""Every word of a caption, each one token."""

READ_WORDS: Final = tuple(
    word
    for word in ("Write", "short", "description", "for", "image", "noting", "that", "main", "instance", "is")
    if word not in CAPTION_WORDS
)
"""Further words of the prompts, which are read and never written."""


def compose_caption(category: str, colour: str | None, view: str) -> str:
    """Write a caption: `a red chair seen from the front`; no colour word where it is None."""
    noun = f"{colour} {category}" if colour else category
    if category not in UNCOUNTED:
        noun = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return f"{noun} seen {view}"


def parse_caption(caption: str) -> tuple[str, str | None, str]:
    """Take a caption apart into category, colour and view; what is not there is empty or None."""
    noun, _, view = caption.partition(" seen ")
    words = noun.removeprefix("an ").removeprefix("a ").split()
    colour = words.pop(0) if words and words[0] in COLOURS else None
    return " ".join(words), colour, view
