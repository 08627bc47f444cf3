"""Category names as lists of labels write them, and as a prompt should say them. Pure."""

import re
from collections import Counter
from collections.abc import Iterable


def prompt_names(labels: Iterable[str]) -> dict[str, str]:
    """Map each label to the words that a prompt says: `Ferris_wheel` becomes "Ferris wheel".

    What a list puts in parentheses to tell two meanings apart stays only where it is needed for that:
    `crab_(animal)` is "crab", but `bow_(weapon)` is "bow (weapon)" beside `bow_(ribbon)`.
    """
    spelled = {label: _spaced(label) for label in labels}
    plain = {label: _spaced(re.sub(r"\([^()]*\)", " ", text)) or text for label, text in spelled.items()}
    count = Counter(plain.values())
    return {label: plain[label] if count[plain[label]] == 1 else text for label, text in spelled.items()}


def with_meaning(label: str) -> str:
    """Return a label's words with what tells its meaning: `crab_(animal)` becomes "crab (animal)"."""
    return _spaced(label)


def has_word(name: str) -> bool:
    """Tell whether a name holds a letter or a digit, so that a prompt can say it."""
    return re.search(r"[^\W_]", name) is not None


def _spaced(text: str) -> str:
    return " ".join(text.replace("_", " ").split())
