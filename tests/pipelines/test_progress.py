"""A bar on a terminal, lines in a log file; both with rate and time left."""

import io
import os
import pty
from contextlib import suppress

from mvcap.commits import CAPTION, RENDER
from pipelines import progress
from pipelines.stages import ShardReport


def everything_written_to(controller: int) -> str:
    os.set_blocking(controller, False)
    shown = b""
    with suppress(BlockingIOError):
        while chunk := os.read(controller, 4096):
            shown += chunk
    return shown.decode()


def test_a_terminal_gets_a_bar_for_each_stage_with_rate_and_time_left():
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        with progress.observing({RENDER: 10, CAPTION: 10}, stream) as observer:
            observer.advance(RENDER, 4)
            observer.finish(ShardReport(RENDER, 7, rows=4, rejected=1, seconds=1.0))
        shown = everything_written_to(controller)
    os.close(controller)
    assert "render" in shown
    assert "caption" in shown
    assert "4/10" in shown
    assert "views/s" in shown
    assert "shard 7 committed with 1 failure" in shown


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    stream = io.StringIO()
    with progress.observing({RENDER: 10, CAPTION: 10}, stream) as observer:
        observer.advance(RENDER, 5)
    assert stream.getvalue().startswith("render 5/10 views, ")
    assert " s left | caption 0/10 views" in stream.getvalue()


def test_a_log_file_is_not_flooded():
    stream = io.StringIO()
    with progress.observing({RENDER: 1000}, stream) as observer:
        for _ in range(1000):
            observer.advance(RENDER, 1)
    assert stream.getvalue() == ""


def test_a_run_ends_with_its_speed_and_how_long_the_device_waited():
    stream = io.StringIO()
    with suppress(KeyboardInterrupt), progress.observing({RENDER: 10, CAPTION: 10}, stream) as observer:
        observer.finish(ShardReport(RENDER, 0, rows=10, rejected=0, seconds=9.0))
        observer.finish(ShardReport(CAPTION, 0, rows=4, rejected=0, seconds=6.0, busy_s=1.5))
        observer.finish(ShardReport(CAPTION, 1, rows=6, rejected=0, seconds=4.0, busy_s=3.5))
        raise KeyboardInterrupt
    render, caption = stream.getvalue().splitlines()
    assert render.startswith("render: 10 views in ")
    assert "device" not in render
    assert caption.startswith("caption: 10 views in ")
    assert caption.endswith("views/s; the device waited for 50% of the time"), "1 - (1.5 + 3.5) / (6 + 4)"


def test_views_without_captions_are_no_captioning():
    stream = io.StringIO()
    with progress.observing({CAPTION: 4}, stream) as observer:
        observer.finish(ShardReport(CAPTION, 0, rows=4, rejected=0, seconds=1.0))
    assert stream.getvalue() == ""


def test_results_pass_while_the_time_left_is_told(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    said: list[str] = []
    assert list(progress.telling(iter("abc"), 3, "chunks compared", said.append)) == ["a", "b", "c"]
    assert [line.split(",")[0] for line in said] == [f"{count} of 3 chunks compared" for count in (1, 2, 3)]
    assert all(line.endswith(" s left") for line in said)
