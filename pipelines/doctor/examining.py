"""The order of the checks: what others stand on comes first."""

from collections.abc import Callable, Iterator

from mvcap.config import Config
from pipelines.doctor.blender import check_blender
from pipelines.doctor.demo import check_demo_objects
from pipelines.doctor.disk import check_disk
from pipelines.doctor.findings import Finding
from pipelines.doctor.gpu import check_gpus
from pipelines.doctor.hub import check_hub
from pipelines.doctor.machine import check_cpus, check_memory, check_open_files, check_shared_memory
from pipelines.doctor.models import check_models
from pipelines.doctor.packages import check_needed_packages, check_optional_packages, check_python
from pipelines.doctor.ray import check_ray

MACHINE: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_gpus,
    check_ray,
    check_cpus,
    check_memory,
    check_shared_memory,
    check_open_files,
    check_disk,
    check_hub,
    check_demo_objects,
)


def examine(configure: Callable[[], Config], *, captions_named: bool) -> Iterator[Finding]:
    """Look at everything that a build needs on this machine, one after another.

    Args:
        configure: makes the configuration of the build; called once the packages that it takes are sound.
        captions_named: whether the user named a captioner, so that it has to be here.

    Raises:
        UsageError: as `configure` does.
    """
    yield from check_python()
    packages = list(check_needed_packages())
    yield from packages
    sound = not any(finding.fatal for finding in packages)
    config = configure() if sound else None
    yield from check_optional_packages()
    for check in MACHINE:
        yield from check()
    if config is None:
        yield Finding("Blender, models", False, "not looked at", "mend the packages first")
        return
    yield from check_blender(config)
    yield from check_models(config, named=captions_named)
