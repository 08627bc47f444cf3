"""Keep a library's chatter off stderr, where mvcap shows progress of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars (one per worker) and its warnings, and restore both.

    One warning would come with every Flan-T5: that its output words are not its input words. Callers
    check for themselves what else transformers only warns about, such as missing weights.
    """
    import transformers

    logging: Any = transformers.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
