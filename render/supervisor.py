"""Keep one Blender child at work: restart it, recycle it, and say exactly which object ended it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from mvcap.errors import (
    BAD_ASSET,
    CRASH,
    ERROR,
    OOM,
    TIMEOUT,
    InfrastructureError,
    Reason,
    RendererUnavailableError,
)
from render.child_process import ChildDied, ChildProcess, DeadlinePassed, MemoryCapPassed
from render.cores import CoreLease, default_slot_folder, lease_core
from render.interpreter import REMEDY, child_command
from render.job import Message, RenderFailed, SceneSettings, setup_message

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
ChildEnded = (ChildDied, DeadlinePassed, MemoryCapPassed)
OOM_ATTEMPTS: Final = 2
"""Once more, alone in a fresh child: what earlier objects left behind may have been the last straw."""
TIMEOUT_ATTEMPTS: Final = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may cost."""

    attempts: int
    """Tries for an object that crashes Blender."""
    start_timeout_s: float
    object_timeout_s: float
    """For one object with all its views."""
    step_timeout_s: float
    """For one import or one view."""
    max_memory_bytes: int
    """Resident size."""
    recycle_after: int
    """Objects after which a child is replaced."""

    def attempts_for(self, reason: Reason) -> int:
        return {OOM: OOM_ATTEMPTS, TIMEOUT: TIMEOUT_ATTEMPTS}.get(reason, self.attempts)


class RequestRefused(Exception):
    """The child answered that it could not do what was asked; it is alive and well."""

    def __init__(self, reply: Message) -> None:
        super().__init__(reply["message"])
        self.traceback: str = reply["traceback"]


class Session:
    """The conversation about one object; it remembers what was asked last, for the blame."""

    def __init__(self, child: ChildProcess, limits: Limits) -> None:
        self._child = child
        self._limits = limits
        self._deadline = time.monotonic() + limits.object_timeout_s
        self.kind = "load"
        self.step = ""

    def ask(self, message: Message, step: str) -> tuple[Message, bytes]:
        """Send one request; `step` says in words what it is, such as `rendering view 3 of chair`."""
        self.kind, self.step = message["kind"], step
        deadline = min(self._deadline, time.monotonic() + self._limits.step_timeout_s)
        reply, payload = self._child.ask(message, deadline)
        if reply["kind"] == "failed":
            raise RequestRefused(reply)
        return reply, payload


def explain_refusal(session: Session, refusal: RequestRefused, attempt: int) -> RenderFailed:
    """Blame the asset for an import that failed; what fails later is nobody's known fault."""
    reason = BAD_ASSET if session.kind == "load" else ERROR
    message = f"Blender failed while {session.step}: {refusal}"
    return RenderFailed(reason, message, attempts=attempt, log_tail=refusal.traceback)


class Supervisor:
    """Owns the child, its core and its history. Not for use from several threads at once."""

    def __init__(self, interpreter: str, limits: Limits, *, bind_core: bool) -> None:
        self._interpreter = interpreter
        self._limits = limits
        self._bind_core = bind_core
        self._lease: CoreLease | None = None
        self._child: ChildProcess | None = None
        self._scene: SceneSettings | None = None
        self._objects = 0
        self._versions: dict[str, str] | None = None

    @property
    def child_pid(self) -> int | None:
        return self._child.pid if self._child else None

    def versions(self) -> dict[str, str]:
        """Name Blender's version and, once there was an object, the device that traces the rays."""
        if self._versions is None:
            self._start_child()
        assert self._versions is not None
        return dict(self._versions)

    def run(self, scene: SceneSettings, work: Callable[[Session], Result]) -> Result:
        """Hold one object's conversation, `work`, with as many fresh children as its reason allows.

        Raises:
            RenderFailed: `work` raised it, the child refused, or it ended on the last attempt.
            RendererUnavailableError: no child starts.
            InfrastructureError: a child started before and none does now.
        """
        attempt = 1
        while True:
            child = self._child_for(scene)
            child.truncate_log()
            session = Session(child, self._limits)
            try:
                return work(session)
            except RequestRefused as refusal:
                raise explain_refusal(session, refusal, attempt) from refusal
            except RenderFailed:
                raise  # by `work`, between two requests: the child is ready for the next object
            except ChildEnded as error:
                failure = self._blame(session, error, attempt)
                logger.info("%s: %s", failure.reason, failure.message, extra={"event": "child_ended"})
                self._end_child()
                if attempt >= self._limits.attempts_for(failure.reason):
                    raise failure from error
            except BaseException:
                self._end_child()  # it may be in the middle of an answer to a question nobody asks any more
                raise
            attempt += 1

    def close(self) -> None:
        self._end_child()
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _blame(self, session: Session, error: Exception, attempt: int) -> RenderFailed:
        assert self._child is not None
        where = f"while {session.step} (attempt {attempt})"
        reason, signal = CRASH, None
        if isinstance(error, DeadlinePassed):
            reason, message = TIMEOUT, f"killed: no answer in time {where}; {self._deadlines()}"
        elif isinstance(error, MemoryCapPassed):
            cap_gb = self._limits.max_memory_bytes / 1e9
            reason, message = OOM, f"killed: resident size above max_memory_gb={cap_gb:g} {where}"
        else:
            assert isinstance(error, ChildDied)
            signal, message = error.signal, f"Blender {error} {where}"
            if signal == "SIGKILL":
                reason = OOM
                message += "; nobody here sent that: most likely the kernel's out-of-memory killer did"
        return RenderFailed(reason, message, attempts=attempt, signal=signal, log_tail=self._child.log_tail())

    def _deadlines(self) -> str:
        limits = self._limits
        return f"object_timeout_s={limits.object_timeout_s:g}, step_timeout_s={limits.step_timeout_s:g}"

    def _child_for(self, scene: SceneSettings) -> ChildProcess:
        """Return a child whose studio is set up for `scene`.

        A change of settings takes a new child: under persistent data Cycles ignores some changes after
        the first render (seen with world sampling, Blender 4.5).
        """
        worn_out = self._objects >= self._limits.recycle_after
        if self._child is not None and (worn_out or self._scene not in (None, scene)):
            self._end_child()
        child = self._child or self._start_child()
        if self._scene is None:
            self._set_up(child, scene)
        self._objects += 1
        return child

    def _start_child(self) -> ChildProcess:
        if self._bind_core and self._lease is None:
            self._lease = lease_core(default_slot_folder())
        core = self._lease.core if self._lease else None
        command = child_command(self._interpreter)
        try:
            child = ChildProcess(command, max_memory_bytes=self._limits.max_memory_bytes, core=core)
        except OSError as error:
            raise RendererUnavailableError(
                f"{self._interpreter} does not start: {error}; {REMEDY}"
            ) from error
        self._child, self._scene, self._objects = child, None, 0
        try:
            greeting = child.await_hello(self._start_deadline())
            self._versions = greeting["versions"] | (self._versions or {})
        except ChildEnded as error:
            raise self._no_start(error) from error
        return child

    def _set_up(self, child: ChildProcess, scene: SceneSettings) -> None:
        try:
            reply, _ = child.ask(setup_message(scene), self._start_deadline())
        except ChildEnded as error:
            raise self._no_start(error) from error
        if reply["kind"] == "failed":
            self._end_child()
            raise RendererUnavailableError(f"Blender refuses the render settings: {reply['message']}")
        self._scene = scene
        self._note_device(str(reply["device"]), scene.device)

    def _note_device(self, device: str, wanted: str) -> None:
        """Remember what traces the rays, and say it once."""
        assert self._versions is not None
        if "device" not in self._versions and wanted == "auto" and device == "CPU":
            logger.info("render.device=auto: no GPU found, rendering on the CPU")
        self._versions["device"] = device

    def _start_deadline(self) -> float:
        return time.monotonic() + self._limits.start_timeout_s

    def _no_start(self, error: Exception) -> InfrastructureError | RendererUnavailableError:
        """Explain a child that never became ready: at first the set-up is wrong, later the machine is."""
        assert self._child is not None
        tail = self._child.log_tail().strip()
        self._end_child()
        what = str(error) or f"gave no sign of life in {self._limits.start_timeout_s:g} s"
        message = f"Blender ({self._interpreter}) {what} while starting"
        if self._versions is not None:
            return InfrastructureError(f"{message}; its last words:\n{tail}")
        return RendererUnavailableError(f"{message}: {REMEDY}; its last words:\n{tail}")

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._child = self._scene = None
