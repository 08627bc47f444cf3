"""The record of who holds what of a dataset that several machines may work on."""

import json
from dataclasses import dataclass, field
from typing import Final

from mvcap import files
from mvcap.cells import read_cell
from mvcap.errors import LockLostError
from mvcap.owners import Owner
from mvcap.places import Place

WHOLE: Final = "whole"


@dataclass(slots=True)
class Register:
    """Who holds what of a dataset."""

    owners: dict[str, Owner] = field(default_factory=dict)
    """By `WHOLE`, or the name of a slice."""
    choosing: str | None = None
    """Token of the owner that has the right to choose."""

    def rivals(self, name: str, own: Owner) -> list[Owner]:
        """List the owners beside whom `own` may not hold `name`."""
        return [
            owner
            for held, owner in self.owners.items()
            if owner.token != own.token and (WHOLE in (held, name) or held == name)
        ]

    @property
    def chooser(self) -> Owner | None:
        return next((owner for owner in self.owners.values() if owner.token == self.choosing), None)

    def without(self, gone: set[str]) -> "Register":
        owners = {name: owner for name, owner in self.owners.items() if owner.token not in gone}
        return Register(owners, None if self.choosing in gone else self.choosing)

    def to_bytes(self) -> bytes:
        owners = {name: owner.to_json() for name, owner in self.owners.items()}
        return files.json_bytes({"owners": owners, "choosing": self.choosing})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Register":
        """Read it back; a record that is none holds nobody."""
        try:
            read = json.loads(content or b"{}")
            owners = {name: Owner(**owner) for name, owner in read.get("owners", {}).items()}
            return cls(owners, read.get("choosing"))
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True, slots=True)
class LeaseGuard:
    """See `mvcap.holds.Guard`."""

    register: Place
    name: str
    token: str

    def __call__(self) -> None:
        self.require(Register.from_bytes(read_cell(self.register)[0]))

    def require(self, register: Register) -> None:
        """Raise `LockLostError` where the register does not say that it is held."""
        held = register.owners.get(self.name)
        if held is None or held.token != self.token:
            now = f"{held} has taken it over" if held else "another driver had taken it over, and is done"
            raise LockLostError(
                f"this process has lost its hold on the dataset of {self.register}: {now}. What was "
                "committed until then stays; when no other driver is at work, the same command goes on"
            )
