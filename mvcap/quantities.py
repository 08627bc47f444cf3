"""Numbers in sentences: `1 view`, `2,000 views`, `12 min`. Quick to import, which inflect is not."""


def by_number(number: int, one: str, several: str | None = None) -> str:
    """Choose a word by a number, such as `is` or `are`; not given, the one for several ends in an s more."""
    return one if number == 1 else several or f"{one}s"


def quantity(number: int, one: str, several: str | None = None) -> str:
    """Say a number with its noun, with commas between thousands."""
    return f"{number:,} {by_number(number, one, several)}"


def duration(seconds: float) -> str:
    """Write a time as people do: `0.4 s`, `41 s`, `12 min`, `3.5 h`, `480 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 or not seconds else f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else f"{seconds / 3600:.1f} h"
