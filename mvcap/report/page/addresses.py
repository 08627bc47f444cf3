"""Links out of the page: only where an address is one of the web, whatever a stranger wrote there."""

from urllib.parse import urlsplit


def web_address(text: str | None) -> str | None:
    """Return an http or https address, or None for anything else: `javascript:`, `data:`, no host."""
    if text is None:
        return None
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return None
    return text.strip() if parts.scheme in ("http", "https") and parts.hostname else None
