"""The objects of the demo."""

from collections.abc import Iterator

from pipelines.doctor.findings import Finding


def check_demo_objects() -> Iterator[Finding]:
    from mvcap.sources.sh3f import default_library

    count = len(list(default_library().glob("*.sh3f")))
    detail = f"{count} furniture libraries" if count else "not here; only the demo needs them"
    remedy = "python -m mvcap.sources.sh3f.fetch"
    yield Finding("demo objects", bool(count), detail, remedy, needed=False)
