"""Commit records: the proof that a stage has finished a shard."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

from mvcap import schema
from mvcap.config import settings_hash
from mvcap.errors import CorruptDatasetError
from mvcap.records import Rejected

StageName = Literal["render", "caption"]
RENDER: Final[StageName] = "render"
CAPTION: Final[StageName] = "caption"
STAGES: Final[tuple[StageName, ...]] = (RENDER, CAPTION)
UNCAPTIONED_SETTINGS: Final[Mapping[str, Any]] = {"backend": None}
UNCAPTIONED: Final = settings_hash(UNCAPTIONED_SETTINGS)
"""Hash of the settings of shards whose captions are null; any captioner may take them further."""
IMPORTER: Final = "pictures"
"""Name, in `made_by`, of what takes pictures as they are; beside a renderer, the key of its version."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Proof that a stage has finished a shard."""

    stage: StageName
    shard: int
    settings: str
    """Hash of the stage's settings; `Store.settings` looks them up."""
    generation: int = 0
    rendered: int | None = None
    """Generation of the rendered views that the data was made of; None in records of older versions."""
    file: str | None = None
    """Relative to the dataset; None where nothing of the shard survived, or the file was dropped."""
    temporary: str | None = None
    """Name under which the file was written, in `_mvcap/attempts/`."""
    sha256: str | None = None
    bytes: int = 0
    rows: int = 0
    views: Mapping[str, int] = field(default_factory=dict)
    """Rows of each object that has any."""
    rejected: tuple[Rejected, ...] = ()
    assets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is known of the model file of each object that has rows: see `mvcap.rows.asset_row`."""
    duplicates: Mapping[str, str] = field(default_factory=dict)
    """The column `duplicate_of` of the file's rows, for each uid where it is not null."""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    """Identity and versions of whatever did the work."""
    seconds: float = 0.0
    """A worker's, from the first read to the commit."""
    object_seconds: Mapping[str, float] = field(default_factory=dict)
    """A renderer's or importer's for each object, failed ones too; empty in records of older versions."""
    committed_at: float | None = None
    """Seconds since 1970 by the worker's clock: to show, not to decide anything by. None in older records."""
    dropped: bool = False
    """The file was removed on purpose after the next stage had taken it up."""
    schema_version: int = schema.SCHEMA_VERSION

    @property
    def uncaptioned(self) -> bool:
        """Whether the shard became data without captions."""
        return self.stage == CAPTION and self.settings == UNCAPTIONED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Commit":
        """Read a record back; what another version of the same schema added is left aside.

        Raises:
            CorruptDatasetError: a newer schema.
        """
        if content["schema_version"] > schema.SCHEMA_VERSION:
            raise CorruptDatasetError(
                f"the commit of shard {content['shard']} has schema version {content['schema_version']}; "
                f"this mvcap reads up to {schema.SCHEMA_VERSION}"
            )
        rejected = tuple(Rejected(**entry) for entry in content["rejected"])
        known = {each.name for each in fields(cls)}
        return cls(**{**{k: v for k, v in content.items() if k in known}, "rejected": rejected})
