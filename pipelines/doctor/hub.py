"""The Hugging Face hub: whether it answers, and who we are to it."""

from collections.abc import Iterator
from typing import Final

from pipelines.doctor.findings import Finding

REMEDY: Final = (
    "set HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy; or copy models and objects to this machine and "
    "name their folders"
)


def check_hub() -> Iterator[Finding]:
    """Ask the hub who we are; without a token, only whether it is there. The token is not shown."""
    from huggingface_hub import constants, get_session, get_token
    from huggingface_hub.errors import OfflineModeIsEnabled

    from mvcap.hub import REQUEST_TIMEOUT_S, TRANSPORT_ERROR, status_of

    endpoint, token = constants.ENDPOINT, get_token()
    try:
        if token is None:
            get_session().head(endpoint, timeout=REQUEST_TIMEOUT_S)
            none = f"{endpoint} answers; no login, which only gated models and pushing need (`hf auth login`)"
            yield Finding("hub", True, none)
            return
        headers = {"authorization": f"Bearer {token}"}
        answer = get_session().get(f"{endpoint}/api/whoami-v2", headers=headers, timeout=REQUEST_TIMEOUT_S)
        answer.raise_for_status()
        yield Finding("hub", True, f"{endpoint}, logged in as {answer.json().get('name')}")
    except (TRANSPORT_ERROR, OfflineModeIsEnabled, OSError, ValueError) as error:
        if status_of(error) in (401, 403):
            yield Finding("hub", False, f"{endpoint} refuses the token", "hf auth login", needed=False)
            return
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        yield Finding("hub", False, f"{endpoint} does not answer: {reason}", REMEDY, needed=False)
