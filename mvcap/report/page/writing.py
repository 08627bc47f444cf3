"""Put the page together: templates, style and scripts in one file that loads nothing from anywhere."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files as resources
from shlex import quote
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mvcap import __version__
from mvcap.quantities import by_number, duration, quantity

PAGE: Final = "mvcap.report.page"
LOG_CHARACTERS: Final = 4_000
"""Of each log, its end."""


def render_page(template: str, scripts: tuple[str, ...], data: Mapping[str, Any], **context: Any) -> bytes:
    """Fill a template in.

    Everything but our own style and scripts is escaped. The page's policy lets these scripts run and no
    other, and lets nothing be loaded, so that a name which got past the escaping could still do nothing.

    Args:
        scripts: files of `scripts/`, in the order in which they are to stand.
        data: what the scripts read.
    """
    code = _read_scripts(scripts)
    environment = Environment(
        loader=PackageLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "by_number": by_number,
        "duration": duration,
        "python": repr,
        "quantity": quantity,
        "shell": quote,
        "tail": lambda text: text[-LOG_CHARACTERS:],
    }
    page = environment.get_template(template).render(
        data=data,
        style=Markup(_read("page.css")),
        code=Markup(code),
        code_hash=b64encode(sha256(code.encode()).digest()).decode(),
        version=__version__,
        **context,
    )
    return page.encode()


def _read_scripts(names: tuple[str, ...]) -> str:
    """Join scripts into one function of their own, so that nothing of them is global."""
    body = "\n".join(_read(f"scripts/{name}") for name in names)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _read(name: str) -> str:
    return resources(PAGE).joinpath(name).read_text("utf-8")
