"""Numbers in sentences: `1 view`, `2,000 views`. Pure, and quick to import, which inflect is not."""


def by_number(number: int, one: str, several: str | None = None) -> str:
    """Choose a word by a number, such as `is` or `are`; not given, the one for several ends in an s more."""
    return one if number == 1 else several or f"{one}s"


def quantity(number: int, one: str, several: str | None = None) -> str:
    """Say a number with its noun, with commas between thousands."""
    return f"{number:,} {by_number(number, one, several)}"
