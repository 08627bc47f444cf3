"""A dataset held across machines: owners stand in one record, and prove by a counter that they live.

A lease of another machine ends when its counter has stood still for `EXPIRES_S` by the clock of whoever
waits; no time that a machine wrote down is compared with that of another. A process of this machine is looked
up instead. The record is changed by comparing and swapping alone (`mvcap.cells`), so that of two drivers one
gets the lease; and who has lost it finds its token gone before it commits anything (`Lease.guard`).
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mvcap.beats import EXPIRES_S, Beats, Watch
from mvcap.cells import read_cell, swap_cell
from mvcap.errors import DatasetLockedError, StorageUnreachableError
from mvcap.holds import Part, SliceAtWork
from mvcap.owners import Owner
from mvcap.places import Place
from mvcap.register import WHOLE, LeaseGuard, Register

POLL_S: Final = 1.0
CONTENTION_S: Final = 0.3
"""At most so long until a change is tried again that another one came before."""


class Lease:
    """A dataset, or a slice of one, held by this process (`mvcap.holds.Hold`).

    Args:
        steal: take what a driver of another machine holds, without waiting.
        tell: hears why nothing happens for a while.
    """

    def __init__(
        self, internal: Place, part: Part | None, *, steal: bool, tell: Callable[[str], None]
    ) -> None:
        self._dataset = internal.parent
        self._register = internal / "lease" / "register"
        self._beats = Beats(internal / "lease")
        self._name = f"{part[0]}-of-{part[1]}" if part else WHOLE
        self._owner = Owner.this()
        self._steal = steal
        self._tell = tell

    @property
    def guard(self) -> LeaseGuard:
        return LeaseGuard(self._register, self._name, self._owner.token)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it until the end of the block.

        Raises:
            DatasetLockedError: another driver holds it, and lives.
        """
        with self._beats.beating(self._owner.token):
            self._acquire()
            try:
                yield
            finally:
                with suppress(StorageUnreachableError):  # then it expires
                    self._change(lambda register: register.without({self._owner.token}))

    def announce(self, **facts: Any) -> None:
        """See `mvcap.holds.Hold.announce`."""

        def announced(register: Register) -> Register:
            self.guard.require(register)
            since = {"since": time.time()}  # for people to read; nothing is decided by it
            owner = replace(self._owner, facts=since | facts)
            return replace(register, owners={**register.owners, self._name: owner})

        self._change(announced)

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """See `mvcap.holds.Hold.choosing`."""
        token = self._owner.token
        watch = Watch(self._beats)
        while True:
            register, version = self._read()
            self.guard.require(register)
            chooser = register.chooser
            if chooser and chooser.token != token and watch.verdict(chooser) is not False:
                time.sleep(random.uniform(0, POLL_S))
            elif self._swap(replace(register, choosing=token), version):
                break
        try:
            yield
        finally:
            self._change(
                lambda register: replace(register, choosing=None) if register.choosing == token else register
            )

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """See `mvcap.holds.Hold.finishing`."""
        if self._name == WHOLE:
            yield True
            return
        with self.choosing():
            self._change(self._withdrawn)
            yield not any(slice_.lives() for slice_ in self.slices_at_work())

    def slices_at_work(self) -> Iterator[SliceAtWork]:
        """See `mvcap.holds.Hold.slices_at_work`."""
        for name, owner in self._read()[0].owners.items():
            if name not in (WHOLE, self._name) and owner.facts is not None:
                yield SliceAtWork(_described(owner), partial(self._lives, owner))

    def _withdrawn(self, register: Register) -> Register:
        self.guard.require(register)
        return replace(register, owners={**register.owners, self._name: self._owner})

    def _acquire(self) -> None:
        watch, told = Watch(self._beats), False
        while True:
            register, version = self._read()
            rivals = register.rivals(self._name, self._owner)
            verdicts = [self._verdict(watch, rival) for rival in rivals]
            if True in verdicts:
                raise DatasetLockedError(self._refusal(rivals[verdicts.index(True)]))
            if None in verdicts:
                if not told:
                    self._tell(
                        f"{self._dataset} was held by {rivals[verdicts.index(None)]}: waiting up to "
                        f"{EXPIRES_S:.0f} s to see whether it still lives"
                    )
                told = True
                time.sleep(POLL_S)
                continue
            free = register.without({rival.token for rival in rivals})
            if self._swap(replace(free, owners={**free.owners, self._name: self._owner}), version):
                for rival in rivals:
                    self._beats.forget(rival.token)
                return

    def _verdict(self, watch: Watch, rival: Owner) -> bool | None:
        return False if self._steal and not rival.is_here else watch.verdict(rival)

    def _lives(self, owner: Owner) -> bool:
        """Wait until it shows whether an owner lives."""
        watch = Watch(self._beats)
        while (lives := watch.verdict(owner)) is None:
            time.sleep(POLL_S)
        return lives

    def _refusal(self, rival: Owner) -> str:
        age_s = self._beats.age_s(rival.token)
        age = "" if age_s is None else f", for {age_s:.0f} s"
        steal = "" if rival.is_here else " (--steal-lock takes it over where that process cannot be ended)"
        return (
            f"{self._dataset} is in use by {rival}{age}; wait for it to end, or end that process and run the "
            f"same command{steal}"
        )

    def _change(self, change: Callable[[Register], Register]) -> None:
        while True:
            register, version = self._read()
            changed = change(register)
            if changed == register or self._swap(changed, version):
                return

    def _read(self) -> tuple[Register, str | None]:
        content, version = read_cell(self._register)
        return Register.from_bytes(content), version

    def _swap(self, register: Register, version: str | None) -> bool:
        if swap_cell(self._register, register.to_bytes(), version):
            return True
        time.sleep(random.uniform(0, CONTENTION_S))
        return False


def drivers_with_leases(internal: Place) -> list[dict[str, Any]]:
    """See `mvcap.locks.drivers_at_work`."""
    register = Register.from_bytes(read_cell(internal / "lease" / "register")[0])
    return [
        _described(owner) | {"slice": None if name == WHOLE else name.replace("-of-", "/")}
        for name, owner in sorted(register.owners.items())
        if owner.facts is not None and (owner.lives_here or not owner.is_here)
    ]


def _described(owner: Owner) -> dict[str, Any]:
    return {"host": owner.host, "pid": owner.pid, **(owner.facts or {})}
