"""What a connection outlasts while it is made; that of a real head is in tests/e2e/test_ray_tokens.py."""

import pytest

from mvcap.errors import InfrastructureError
from pipelines.runners import ray_connection
from pipelines.runners.ray_connection import connected

FORK_DIED = "*** failure from server:\nRuntimeError: Starting Ray client server failed. See logs."
SERVER_DIED = "*** failure from server:\nRuntimeError: Proxy failed to Connect to backend! Check logs."


@pytest.fixture
def answers(monkeypatch):
    """What Ray answers to each try to connect: an error's words, or None for a connection."""
    answers: list[str | None] = []

    def init(**_):
        if words := answers.pop(0):
            raise ConnectionError(words)

    monkeypatch.setattr(ray_connection.ray, "init", init)
    return answers


@pytest.mark.parametrize("words", [FORK_DIED, SERVER_DIED])
def test_a_server_for_the_driver_that_did_not_come_up_is_asked_for_once_more(answers, words):
    answers += [words, None]
    with connected("ray://127.0.0.1:10001"):
        assert answers == []
    answers += [words, words, None]
    with pytest.raises(InfrastructureError, match="cannot connect to Ray at ray://"), connected("ray://a:1"):
        pass
    assert answers == [None]


def test_any_other_refusal_is_told_at_once(answers):
    answers += ["wrong version", None]
    with pytest.raises(InfrastructureError, match="wrong version"), connected("ray://127.0.0.1:10001"):
        pass
    assert answers == [None]
