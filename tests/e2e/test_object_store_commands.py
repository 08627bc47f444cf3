"""The command with its dataset on S3: drivers that race, that are killed, and that nobody lets in."""

import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mvcap import files, object_files
from mvcap.places import ObjectPlace, Place
from mvcap.storage import Store

pytestmark = pytest.mark.slow

KILLED = -9
NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d")
SETTINGS = (
    *("--set", "render.backend=fake", "--set", "captions.backend=fake", "--set", "captions.synonyms=table"),
    *("--set", "render.views=2", "--set", "render.resolution=32", "--set", "run.logs=false"),
    *("--set", "plan.objects_per_shard=2", "--set", "plan.splits={train: 1.0}"),
    *("--set", "run.render_workers=1", "--set", "run.caption_workers=1"),
)
FAST = ("--runner", "local", *SETTINGS)


def rows(out: Place) -> list[dict[str, Any]]:
    """Every row, as a reader sees it who looks at the data alone."""
    found: list[dict[str, Any]] = []
    for place in files.list_files(out / "data"):
        with files.open_input(place) as source:
            found += pq.read_table(source).to_pylist()
    return found


def left_over(out: Place) -> list[str]:
    return [str(place) for place in files.list_files(out) if files.TEMPORARY in place.name]


@pytest.fixture
def out(s3: Any) -> ObjectPlace:
    return ObjectPlace(s3.bucket, "sets/one")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Commands that cost no start-up."""
    double = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "forked_drivers.py"))
    modules = (*double["MODULES"], "s3fs", "aiobotocore.session", "botocore.handlers")
    with double["start"](tmp_path_factory.mktemp("forked"), modules) as run:
        yield run


@pytest.fixture
def drive(forked: Any, s3: Any, s3_environment: dict[str, str]) -> Callable[..., int]:
    def run(*arguments: object, **environment: str) -> int:
        code: int = forked(*arguments, **(s3_environment | environment))
        return code

    return run


@pytest.fixture(scope="module")
def undisturbed(
    forked: Any, write_models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    """The models, and the rows of their dataset in a folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    models = write_models(folder / "models", *NAMES)
    assert forked("build-all", "--models", models, "--out", folder / "out", *FAST) == 0
    return models, rows(folder / "out")


@pytest.mark.parametrize(
    "fault",
    [
        "shard.synced:1",  # uploaded, and nowhere recorded
        "shard.recorded:3",  # recorded, and not copied
        "shard.renamed:2",  # copied
        "finish.drawn:1",
    ],
)
def test_a_driver_killed_at_any_step_leaves_what_the_same_command_completes(
    drive: Callable[..., int], undisturbed: Any, out: ObjectPlace, fault: str
):
    models, expected = undisturbed
    build = ("build-all", "--models", models, "--out", out, *FAST)
    assert drive(*build, MVCAP_FAULT=fault) == KILLED
    partly = {(row["uid"], row["view_index"]) for row in rows(out)}
    assert partly <= {(row["uid"], row["view_index"]) for row in expected}
    assert drive(*build) == 0
    assert rows(out) == expected
    assert left_over(out) == []
    assert drive("verify", out) == 0


def test_a_driver_killed_in_mid_upload_leaves_nothing_that_is_read_and_the_same_command_finishes(
    drive: Callable[..., int], start_mvcap: Any, undisturbed: Any, out: ObjectPlace, s3: Any
):
    models, expected = undisturbed
    build = ("build-all", "--models", models, "--out", out, *FAST)
    begun = threading.Event()
    with s3.holding(begun, "PUT", "_mvcap/attempts/", read_bytes=1000):
        driver = start_mvcap(*build)
        assert begun.wait(60)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert rows(out) == []
    assert drive(*build) == 0
    assert rows(out) == expected
    assert left_over(out) == []


PUBLISH = """
import sys
from pathlib import Path
from mvcap import files, object_files
from mvcap.places import parse_place
object_files.PART_BYTES = 5 * 2**20
files.publish(Path(sys.argv[1]), parse_place(sys.argv[2]))
"""


def test_parts_of_a_killed_upload_are_let_go_by_the_next_driver(
    drive: Callable[..., int], undisturbed: Any, out: ObjectPlace, s3: Any, tmp_path: Path
):
    (tmp_path / "large").write_bytes(bytes(30 * 2**20))
    place = Store(out).attempts / ".attempt-0123456789ab-large"
    begun = threading.Event()

    def hold_the_last_parts(request: Any, environ: dict[str, Any]) -> None:
        if request.query.get("partNumber") in (["5"], ["6"]):
            begun.set()
            time.sleep(600)

    with s3.failing(hold_the_last_parts):
        uploader = subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path / "large"), str(place)])
        assert begun.wait(60)
        uploader.kill()
        uploader.wait()
    uploads = object_files._call("list_multipart_uploads", Bucket=s3.bucket)
    assert [upload["Key"] for upload in uploads["Uploads"]] == [place.key]
    models, _ = undisturbed
    assert drive("build-all", "--models", models, "--out", out, *FAST) == 0
    assert not object_files._call("list_multipart_uploads", Bucket=s3.bucket).get("Uploads")


def test_of_two_drivers_one_is_refused_by_name_and_the_killed_one_is_replaced_at_once(
    drive: Callable[..., int], forked: Any, start_mvcap: Any, undisturbed: Any, out: ObjectPlace
):
    models, expected = undisturbed
    build = ("build-all", "--models", models, "--out", out, *FAST)
    slow = ("--set", "render.options.view_seconds=0.5")
    first = start_mvcap(*build, *slow)
    deadline = time.monotonic() + 60
    while not files.exists(Store(out).commit_path("render", 0)):
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)  # so that it is still there when the second one comes
    assert drive(*build, *slow) == 2
    assert f"{out} is in use by process {first.pid} on " in forked.said
    first.send_signal(signal.SIGKILL)
    first.wait()
    begun = time.monotonic()
    assert drive(*build, *slow) == 0
    assert time.monotonic() - begun < 30  # a lease of another machine would take a minute
    assert rows(out) == expected
    assert drive("verify", out) == 0


def test_drivers_that_start_together_end_with_one_dataset(
    drive: Callable[..., int], start_mvcap: Any, undisturbed: Any, out: ObjectPlace
):
    models, expected = undisturbed
    build = ("build-all", "--models", models, "--out", out, *FAST, "--set", "render.options.view_seconds=0.3")
    drivers = [start_mvcap(*build) for _ in range(3)]
    printed = [driver.communicate(timeout=120)[0] for driver in drivers]
    assert sorted(driver.returncode for driver in drivers) == [0, 2, 2], printed
    assert rows(out) == expected
    assert left_over(out) == []
    assert drive("verify", out) == 0


def test_slices_run_side_by_side(
    drive: Callable[..., int], start_mvcap: Any, undisturbed: Any, out: ObjectPlace
):
    models, expected = undisturbed
    assert drive("render", "--models", models, "--out", out, *FAST) == 0
    slices = [start_mvcap("caption", out, "--shard", f"{k}/2", "--runner", "local") for k in range(2)]
    printed = [slice_.communicate(timeout=120)[0] for slice_ in slices]
    assert [slice_.returncode for slice_ in slices] == [0, 0], printed
    assert rows(out) == expected
    assert drive("verify", out) == 0


def test_refusals_come_at_once_in_few_lines_with_a_remedy_and_no_secret(
    drive: Callable[..., int], forked: Any, undisturbed: Any, out: ObjectPlace, s3: Any, s3_double: Any
):
    build = ("build-all", "--models", undisturbed[0], *FAST, "--out")

    def refused(*words: str) -> None:
        told = forked.said
        assert len(told.splitlines()) <= 3, told
        assert [word for word in words if word not in told] == []
        assert s3_double.SECRET_KEY not in told
        assert s3_double.ACCESS_KEY not in told

    assert drive(*build, "gs://bucket/x") == 2
    refused("gs://bucket/x", "S3-compatible storage (s3://bucket/prefix)")
    assert drive(*build, "s3://nobody-made-this/x") == 2
    refused("there is no bucket nobody-made-this: create it")
    with s3.refusing("403 Forbidden", "InvalidAccessKeyId"):
        assert drive(*build, out) == 2
        refused("access is denied", "AWS_PROFILE")
    assert drive(*build, out, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="") == 2
    refused("there are no credentials; set AWS_PROFILE")
    assert drive(*build, out, AWS_ENDPOINT_URL_S3="http://127.0.0.1:9") == 1
    refused("http://127.0.0.1:9 does not answer", "run again later")
    assert files.list_files(out) == []
    assert drive("status", out) == 2
    refused("is not a dataset of mvcap")
    assert drive("build-all", "--models", "s3://bucket/models", "--out", out, *FAST) == 2
    assert "s3://bucket/models is a URL" in forked.said


@pytest.mark.ray
def test_ray_builds_the_same_in_storage(mvcap: Any, undisturbed: Any, out: ObjectPlace):
    models, expected = undisturbed
    done = mvcap("build-all", "--models", models, "--out", out, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert f"data_files={{'train': '{out}/data/train-*.parquet'}}" in done.stderr
    assert rows(out) == expected
    assert mvcap("verify", out).returncode == 0
