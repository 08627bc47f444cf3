"""Keep secrets out of what is written for people: logs, dumped settings, failures, the card, messages."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

HIDDEN: Final = "***"
SHORTEST: Final = 8
"""Characters of a value that is looked for in a text; shorter ones would blot out words."""

_SECRET_NAME: Final = r"(?:token|secret|passw(?:or)?d|api_?key|access_?key|private_?key|credential|signature)"
_VARIABLE: Final = re.compile(
    rf"(?:^|_){_SECRET_NAME}(?:_|$)(?!.*(?:path|file|dir|id|mode|env|url|name)$)", re.I
)
"""Names of environment variables whose values are secrets; those of files that hold one are not."""
_OPTION: Final = re.compile(rf"(?:^|[_.-]){_SECRET_NAME}$", re.I)

_PATTERNS: Final = (
    # credentials before the host of an address
    (re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"), HIDDEN),
    # parameters of an address
    (re.compile(rf"(?i)([?&][\w.%-]*(?:{_SECRET_NAME}|sig|key)=)[^&\s'\"]+"), rf"\1{HIDDEN}"),
    # assignments: token=..., "api_key": "...", --password ...
    (
        re.compile(rf"(?i)(\b[\w-]*{_SECRET_NAME}['\"]?\s*[:=]\s*)(['\"]?)(?!\s)[^\s'\",}}&]+\2"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # keys that show what they are: Hugging Face, OpenAI, AWS, GitHub
    (re.compile(r"\b(?:hf_|sk-|AKIA|ASIA|gh[pousr]_)[A-Za-z0-9_-]{12,}"), HIDDEN),
)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace what is secret in a text by `***`.

    Args:
        environment: whose secret values are looked for; that of this process where None.
    """
    return _hide(text, _secret_values(os.environ if environment is None else environment))


def redacted_values(value: Any) -> Any:
    """Replace what is secret in plain JSON or YAML values, by the names of keys too."""
    return _hide_in(value, _secret_values(os.environ))


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _hide_in(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _hide(value, secrets)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if inner and isinstance(inner, str) and _OPTION.search(str(key))
            else _hide_in(inner, secrets)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hide_in(inner, secrets) for inner in value]
    return value


def _secret_values(environment: Mapping[str, str]) -> list[str]:
    """Longest first, so that a value inside another leaves nothing of that one."""
    values = {
        value for name, value in environment.items() if len(value) >= SHORTEST and _VARIABLE.search(name)
    }
    return sorted(values, key=len, reverse=True)
