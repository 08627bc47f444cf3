"""Every error a user can meet, and the one vocabulary of reasons for rejected records.

MvcapError                       exit 1
├── UsageError                   exit 2: the command or the configuration must change
│   ├── ConfigError              unknown keys, bad values: all of them at once
│   ├── UnknownNameError         no such backend, source or recipe; names the nearest one
│   ├── UnfinishedError          a dataset that is not whole, where only a whole one will do
│   ├── MissingExtraError        an optional dependency is not installed
│   ├── EmptyInputError          0 objects
│   ├── AssetFolderError         a folder of models or a library cannot be read
│   ├── ModelUnavailableError    model weights cannot be found or downloaded
│   ├── FetchError               the hub refuses a file, or what came is damaged
│   ├── PushError                the hub refuses what is pushed to it
│   ├── EmbeddingsError          a file of embeddings, vectors or categories does not hold what it must
│   ├── RendererUnavailableError no working Blender
│   ├── OutputError              the output folder cannot be written
│   ├── ConfigChangedError       committed work was made with other settings
│   ├── MixedRenderersError      another version of the renderer than the dataset's
│   └── DatasetLockedError       another driver is at work on the dataset
├── CorruptDatasetError          what is on disk contradicts its commit records
├── LockLostError                another driver has taken the dataset over
├── DiskFullError                the dataset's disk has no room left
├── NothingSurvivedError         every object was rejected
├── TrainingDivergedError        a loss or gradient is not finite
└── InfrastructureError          workers keep dying for reasons no object explains
    ├── HubUnreachableError      the hub does not answer; no object is to blame
    ├── StorageUnreachableError  the object store does not answer
    └── DeviceFaultError         a GPU failed, and its process can use it no more
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Literal

from mvcap.quantities import quantity

Reason = Literal[
    "bad_asset",
    "too_big",
    "no_category",
    "empty_render",
    "bad_views",
    "too_few_views",
    "no_poses",
    "crash",
    "timeout",
    "oom",
    "hub",
    "empty_caption",
    "error",
]

BAD_ASSET: Final[Reason] = "bad_asset"
"""The file is missing, empty, truncated, of no known format, or refused by the importer."""
TOO_BIG: Final[Reason] = "too_big"
"""Bytes, vertices or pixels exceed the configured caps."""
NO_CATEGORY: Final[Reason] = "no_category"
"""Nothing says what the object is, or several things do."""
EMPTY_RENDER: Final[Reason] = "empty_render"
"""Nothing can be seen: no mesh, no size, or an alpha channel of zeros."""
BAD_VIEWS: Final[Reason] = "bad_views"
"""A picture failed an image check (black or burnt out), or too many of an object's pictures did."""
TOO_FEW_VIEWS: Final[Reason] = "too_few_views"
"""A scene has fewer usable frames than are asked for."""
NO_POSES: Final[Reason] = "no_poses"
"""A scene's reconstruction is missing or damaged, so that nobody knows where its cameras stood."""
CRASH: Final[Reason] = "crash"
"""The Blender child died while it worked on this object, on every attempt."""
TIMEOUT: Final[Reason] = "timeout"
"""The object's deadline passed."""
OOM: Final[Reason] = "oom"
"""The child passed its memory cap, or the kernel killed it."""
HUB: Final[Reason] = "hub"
"""A file could not be fetched from the hub."""
EMPTY_CAPTION: Final[Reason] = "empty_caption"
"""The captioner wrote nothing."""
ERROR: Final[Reason] = "error"
"""Anything else; the message says what."""


class MvcapError(Exception):
    """An error that is explained to the user without a traceback."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whatever arguments a subclass takes."""
        return _rebuild, (type(self), self.args, self.__dict__)


class UsageError(MvcapError):
    """The command, the configuration or the machine's set-up must change first."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration with problems; `problems` holds one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = quantity(len(self.problems), "problem")
        super().__init__(f"{count} in the configuration:\n" + "\n".join(f"  - {line}" for line in problems))


class UnknownNameError(UsageError):
    """A name that is not among the valid ones; the message names the nearest."""

    def __init__(self, kind: str, name: str, valid: Sequence[str]) -> None:
        listed = ", ".join(sorted(valid))
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, valid)} (valid: {listed})")


class UnfinishedError(UsageError):
    """A dataset that is not whole yet, where only a whole one will do."""

    def __init__(self, root: object) -> None:
        super().__init__(f"{root} is not finished; the command that began it goes on with it")


class MissingExtraError(UsageError):
    """An optional dependency is missing; the message says which extra brings it."""


class EmptyInputError(UsageError):
    """The sources gave no object."""


class AssetFolderError(UsageError):
    """A folder of models or a furniture library is missing or cannot be read."""


class ModelUnavailableError(UsageError):
    """Model weights cannot be found locally or fetched from the hub."""


class FetchError(UsageError):
    """The hub refuses a file, or what came of it is not what its checksum says."""


class PushError(UsageError):
    """The hub refuses what is pushed to it: who pushes, to where, or how much at once."""


class EmbeddingsError(UsageError):
    """A file of embeddings, category vectors, categories or selected objects does not hold what it must."""


class RendererUnavailableError(UsageError):
    """No interpreter with a working Blender was found."""


class OutputError(UsageError):
    """The output folder is missing, forbidden or not a dataset."""


class ConfigChangedError(UsageError):
    """Committed work was made with other settings than the present ones."""

    def __init__(self, stage: str, difference: Mapping[str, tuple[object, object]], advice: str) -> None:
        changes = "\n".join(
            f"  {field}: {old!r} -> {new!r}" for field, (old, new) in sorted(difference.items())
        )
        super().__init__(
            f"the committed {stage} shards were made with other settings (then -> now):\n{changes}\n{advice}"
        )


class MixedRenderersError(UsageError):
    """Another version of the renderer than the dataset's, the driver's or another slice's."""


class DatasetLockedError(UsageError):
    """Another driver holds the dataset's lock."""


class CorruptDatasetError(MvcapError):
    """Files on disk contradict their commit records."""


class LockLostError(MvcapError):
    """The dataset is no longer this process's to work on: another one has taken it over."""


class DiskFullError(MvcapError):
    """The dataset's disk has no room left."""


class NothingSurvivedError(MvcapError):
    """Every object was rejected."""


class TrainingDivergedError(MvcapError):
    """A loss or gradient became NaN or infinite; the message names the batch."""


class InfrastructureError(MvcapError):
    """Workers keep dying without an object to blame."""


class HubUnreachableError(InfrastructureError):
    """The hub does not answer, or lets nobody in for the moment; the same command goes on later."""


class StorageUnreachableError(InfrastructureError):
    """The object store does not answer, however often it is asked; the same command goes on later."""


class DeviceFaultError(InfrastructureError):
    """A GPU reported a fault, after which no call of the same process can be trusted."""


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """Return `; did you mean 'x'?` for the valid name nearest to `name`, or an empty string."""
    nearest = get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _rebuild(kind: type[MvcapError], args: tuple[Any, ...], state: dict[str, Any]) -> MvcapError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
