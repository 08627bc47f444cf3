"""Faults of a child, brought about by a puppet in Blender's place: fast, and real to the supervisor."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import psutil
import pytest

from mvcap.errors import BAD_ASSET, CRASH, OOM, TIMEOUT, InfrastructureError, RendererUnavailableError
from render.backends.blender import BlenderRenderer, Options, create
from render.job import RenderFailed, RenderJob

QUICK = {"object_timeout_s": 5.0, "step_timeout_s": 0.6, "start_timeout_s": 10.0, "max_memory_gb": 0.3}


@pytest.fixture
def renderer(launcher):
    with create(Options(**QUICK), interpreter=launcher("puppet_child")) as renderer:
        yield renderer


def failure_of(renderer: BlenderRenderer, job: RenderJob) -> RenderFailed:
    with pytest.raises(RenderFailed) as failure:
        renderer.render(job)
    return failure.value


def test_pictures_come_back_pasted_into_their_frames(renderer, make_job):
    pictures = renderer.render(make_job(views=5))
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.rgba.shape == (64, 64, 4)
        assert (picture.rgba[32, 32] == [128, 128, 128, 255]).all()
    assert renderer.versions() == {"blender": "puppet", "device": "CPU"}


@pytest.mark.parametrize(("deed", "signal"), [("abort", "SIGABRT"), ("segfault", "SIGSEGV"), ("exit", None)])
def test_a_crash_is_tried_three_times_and_blamed_exactly(renderer, make_job, deed, signal):
    failure = failure_of(renderer, make_job(f"{deed}-view1"))
    assert (failure.reason, failure.attempts, failure.signal) == (CRASH, 3, signal)
    assert f"while rendering view 1 of {deed}-view1 (attempt 3)" in failure.message
    assert f"about to {deed} at view1" in failure.log_tail


def test_the_objects_around_a_crash_are_unaffected(renderer, make_job):
    before = renderer.render(make_job("before"))
    assert failure_of(renderer, make_job("abort-load")).reason == CRASH
    after = renderer.render(make_job("before"))
    assert [p.camera for p in after] == [p.camera for p in before]


def test_a_crash_that_does_not_come_back_leaves_no_trace(renderer, make_job):
    assert len(renderer.render(make_job("segfault-once-view2"))) == 3


def test_a_hang_is_killed_at_the_deadline_and_not_tried_again(renderer, make_job):
    started = time.monotonic()
    failure = failure_of(renderer, make_job("hang-load"))
    assert (failure.reason, failure.attempts, failure.signal) == (TIMEOUT, 1, None)
    assert "while importing hang-load (attempt 1)" in failure.message
    assert "step_timeout_s=0.6" in failure.message
    assert time.monotonic() - started < 5
    assert len(renderer.render(make_job())) == 3


def test_the_deadline_of_an_object_counts_all_its_steps(launcher, make_job):
    options = Options(**(QUICK | {"object_timeout_s": 0.5, "step_timeout_s": 30.0}))
    with create(options, interpreter=launcher("puppet_child")) as renderer:
        assert failure_of(renderer, make_job("hang-view2")).reason == TIMEOUT


def test_a_child_that_grows_is_stopped_at_its_cap_and_tried_once_more(launcher, make_job):
    options = Options(**(QUICK | {"step_timeout_s": 20.0}))
    with create(options, interpreter=launcher("puppet_child")) as renderer:
        failure = failure_of(renderer, make_job("greedy-view0"))
        assert (failure.reason, failure.attempts) == (OOM, 2)
        assert "max_memory_gb=0.3" in failure.message


def test_a_kill_from_nobody_known_is_taken_for_the_kernels(renderer, make_job):
    failure = failure_of(renderer, make_job("killed-view1"))
    assert (failure.reason, failure.attempts, failure.signal) == (OOM, 2, "SIGKILL")
    assert "out-of-memory killer" in failure.message


def test_an_importers_error_is_a_bad_asset_and_the_child_lives_on(renderer, make_job):
    renderer.render(make_job())
    pid = renderer.supervisor.child_pid
    failure = failure_of(renderer, make_job("refuse"))
    assert (failure.reason, failure.attempts) == (BAD_ASSET, 1)
    assert failure.message == "Blender failed while importing refuse: no such thing"
    assert failure.log_tail == "Traceback: line 7"
    renderer.render(make_job())
    assert renderer.supervisor.child_pid == pid


def test_a_file_that_fails_the_cheap_checks_starts_no_child(renderer, make_job):
    job = replace(make_job(), asset="/nowhere/absent.glb")
    assert failure_of(renderer, job).reason == BAD_ASSET
    assert renderer.supervisor.child_pid is None


def test_the_log_of_one_object_does_not_hold_that_of_another(renderer, make_job):
    renderer.render(make_job("earlier"))
    log_tail = failure_of(renderer, make_job("abort-view0")).log_tail
    assert "loading abort-view0" in log_tail
    assert "earlier" not in log_tail


def test_a_child_is_replaced_after_so_many_objects(launcher, make_job):
    with create(Options(recycle_after=2), interpreter=launcher("puppet_child")) as renderer:
        pids = []
        for _ in range(5):
            renderer.render(make_job(views=1))
            pids.append(renderer.supervisor.child_pid)
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_other_settings_take_another_child(renderer, make_job, scene):
    renderer.render(make_job(views=1))
    pid = renderer.supervisor.child_pid
    [picture] = renderer.render(make_job(views=1, scene=replace(scene, resolution=32)))
    assert picture.rgba.shape == (32, 32, 4)
    assert renderer.supervisor.child_pid != pid


def test_closing_ends_the_child_and_all_that_it_started(launcher, make_job):
    wrapper = launcher("puppet_child", exec_="")  # the shell stays and the puppet is its child
    with create(Options(), interpreter=wrapper) as renderer:
        renderer.render(make_job(views=1))
        shell = psutil.Process(renderer.supervisor.child_pid)
        family = [shell, *shell.children(recursive=True)]
        assert len(family) == 2
    assert not psutil.wait_procs(family, timeout=5)[1]


def test_a_child_leaves_no_temporary_files_however_it_ends(launcher, make_job, monkeypatch, tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with create(Options(**QUICK), interpreter=launcher("puppet_child")) as renderer:
        renderer.render(make_job(views=1))
        assert [path.name for path in place.glob("*/puppet")] == ["puppet"]  # made by the child in its own
        failure_of(renderer, make_job("abort-load"))
        failure_of(renderer, make_job("hang-load"))
        assert list(place.glob("mvcap-blender-*")) == []
        renderer.render(make_job(views=1))
    assert list(place.glob("mvcap-blender-*")) == []


def test_a_child_runs_on_its_own_core_and_the_parent_stays_free(launcher, make_job, monkeypatch, tmp_path):
    monkeypatch.setattr("render.supervisor.default_slot_folder", lambda: tmp_path / "cores")
    free = os.sched_getaffinity(0)
    with (
        create(Options(), interpreter=launcher("puppet_child")) as one,
        create(Options(bind_cores=False), interpreter=launcher("puppet_child")) as unbound,
    ):
        one.versions()
        unbound.versions()
        assert len(os.sched_getaffinity(one.supervisor.child_pid)) == 1
        assert os.sched_getaffinity(unbound.supervisor.child_pid) == free
    assert os.sched_getaffinity(0) == free


def test_an_interpreter_without_bpy_is_explained(make_job):
    with (
        create(Options(), interpreter="/bin/false") as renderer,
        pytest.raises(RendererUnavailableError, match=r"exited with code 1 while starting: install it with"),
    ):
        renderer.render(make_job())


def test_a_silent_interpreter_is_given_up_at_the_deadline(launcher, tmp_path):
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nsleep 60\n")
    silent.chmod(0o755)
    with (
        create(Options(start_timeout_s=0.5), interpreter=str(silent)) as renderer,
        pytest.raises(RendererUnavailableError, match="no sign of life"),
    ):
        renderer.versions()


def test_a_blender_that_stops_starting_is_nobodys_fault(launcher, make_job, tmp_path):
    interpreter = launcher("puppet_child")
    with create(Options(recycle_after=1), interpreter=interpreter) as renderer:
        renderer.render(make_job(views=1))
        (tmp_path / "interpreter").write_text("#!/bin/sh\necho broken >&2; exit 3\n")
        with pytest.raises(InfrastructureError, match=r"exited with code 3(.|\n)*broken"):
            renderer.render(make_job(views=1))


def test_an_interrupted_conversation_is_not_continued(renderer, make_job, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("render.backends.blender.take_picture", interrupt)
        with pytest.raises(KeyboardInterrupt):
            renderer.render(make_job())
    assert renderer.supervisor.child_pid is None
    assert len(renderer.render(make_job())) == 3


def test_a_child_ends_when_its_parent_is_killed(launcher):
    program = (
        "import os, sys\n"
        "from render.backends.blender import Options, create\n"
        "renderer = create(Options(), interpreter=sys.argv[1])\n"
        "renderer.versions(); print(renderer.supervisor.child_pid, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", program, launcher("puppet_child")]
    pid = int(subprocess.run(command, capture_output=True, check=False).stdout)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
