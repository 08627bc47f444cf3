"""What a source lists where an object cannot be had."""

from typing import Final

from mvcap.errors import BAD_ASSET, Reason
from mvcap.plan import make_uid
from mvcap.records import Rejected

STAGE: Final = "list"
"""What failures say."""


def reject(source: str, source_id: str, message: str, *, reason: Reason = BAD_ASSET) -> Rejected:
    """Reject an object while its source is listed, under the uid that it would have."""
    return Rejected(make_uid(source, source_id), STAGE, reason, message)
