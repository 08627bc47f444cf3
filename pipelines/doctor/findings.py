"""What a check says."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    fine: bool
    detail: str
    remedy: str = ""
    needed: bool = True
    """Whether a build cannot do without it; otherwise it is a note."""

    @property
    def fatal(self) -> bool:
        """Whether a build would fail."""
        return self.needed and not self.fine

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        mark = "ok  " if self.fine else "FAIL" if self.needed else "note"
        lines = [f"{mark} {self.name:15} {self.detail}"]
        if not self.fine:
            lines += [f"{'':20} -> {line}" for line in self.remedy.splitlines()]
        return "\n".join(lines)
