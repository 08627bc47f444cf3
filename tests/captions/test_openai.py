"""The OpenAI protocol against a real local server, which fails in all the usual ways."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from captions.backends.openai import OpenAICaptioner, Options, check
from captions.captioner import NoCaption
from captions.stage import caption_views
from mvcap.errors import (
    EMPTY_CAPTION,
    ERROR,
    TIMEOUT,
    ConfigError,
    InfrastructureError,
    ModelUnavailableError,
    Reason,
)
from mvcap.plugins import options_model
from mvcap.recipes import build_config
from mvcap.records import CaptionedView, Rejected, View

MODEL = "test/vision-model"
KEY = "sk-very-secret"
PICTURE = Image.new("RGB", (20, 10), "red")


@pytest.fixture
def connect(openai_server: Any) -> Iterator[Callable[..., OpenAICaptioner]]:
    """Connect to the server with one retry, unless told otherwise."""
    opened = []

    def open_one(**options: object) -> OpenAICaptioner:
        defaults = {"model": MODEL, "base_url": openai_server.url, "retries": 1, "timeout_s": 20}
        opened.append(OpenAICaptioner(Options.model_validate(defaults | options)))
        return opened[-1]

    yield open_one
    for captioner in opened:
        captioner.close()


def test_picture_prompt_and_settings_reach_the_server(openai_server, connect):
    captions = connect(seed=7).caption([PICTURE], ["What is a chair?"])
    assert captions == ["a picture of 20 x 10 RGB: What is a chair?"]
    (request,) = openai_server.requests
    assert (request["model"], request["temperature"], request["seed"]) == (MODEL, 0, 7)
    assert (request["max_tokens"], request["n"]) == (64, 1)


def test_a_caption_is_written_again_with_more_room_and_a_penalty_on_loops(openai_server, connect):
    captioner = connect(max_new_tokens=20)
    captions = captioner.caption_again([captioner.prepare(PICTURE), PICTURE], ["a", "b"])
    assert captions == ["a picture of 20 x 10 RGB: a", "a picture of 20 x 10 RGB: b"]
    assert [request["max_tokens"] for request in openai_server.requests] == [40, 40]
    assert all(request["frequency_penalty"] > 0 for request in openai_server.requests)


def test_captions_keep_the_order_with_several_requests_at_once(openai_server, connect):
    captioner = connect(concurrency=4)
    openai_server.rendezvous = threading.Barrier(4)
    pictures = [Image.new("RGB", (8 + index, 8)) for index in range(32)]
    prepared = [captioner.prepare(picture) for picture in pictures]
    captions = captioner.caption(prepared, [f"prompt {index}" for index in range(32)])
    assert captions == [f"a picture of {8 + index} x 8 RGB: prompt {index}" for index in range(32)]
    assert openai_server.at_once == 4


@pytest.mark.parametrize("fault", ["full", "broken", "dropped"])
def test_what_fails_once_is_asked_again(openai_server, connect, fault):
    prompt = f"{fault} once"
    assert connect().caption([PICTURE], [prompt]) == [f"a picture of 20 x 10 RGB: {prompt}"]
    assert openai_server.attempts[prompt] == 2


def test_a_full_server_is_asked_again_when_it_said(openai_server, connect):
    """Without its Retry-After the client would wait for half a second at most."""
    begun = time.monotonic()
    connect().caption([PICTURE], ["patient once"])
    assert openai_server.attempts["patient once"] == 2
    assert time.monotonic() - begun >= 1


def test_a_slow_answer_is_asked_for_again(openai_server, connect):
    assert connect(timeout_s=0.3).caption([PICTURE], ["slow once"])[0].endswith("slow once")
    assert openai_server.attempts["slow once"] == 2


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ("broken", ERROR, "internal error"),
        ("slow", TIMEOUT, "no answer within 0.3 s"),
        ("dropped", ERROR, "Connection error"),
        ("malformed", ERROR, "not JSON"),
        ("html", ERROR, "holds no caption: <html>504</html>"),
        ("choiceless", ERROR, "holds no caption"),
        ("refused", ERROR, "the model refused: I am sorry."),
        ("toolong", ERROR, "longer than the context"),
    ],
)
def test_a_picture_that_fails_is_a_failure_of_its_own(
    connect, make_view: Callable[..., View], fault: str, reason: Reason, said: str
):
    views = [make_view(PICTURE, category=name, index=i) for i, name in enumerate(("chair", fault, "cup"))]
    captioner = connect(timeout_s=0.3 if fault == "slow" else 20)
    first, failed, last = caption_views(views, captioner, prompt_template="A {category}.", batch_size=3)
    assert isinstance(first, CaptionedView)
    assert isinstance(last, CaptionedView)
    assert isinstance(failed, Rejected)
    assert (failed.stage, failed.reason, failed.view_index) == ("caption", reason, 1)
    assert said in failed.message
    assert len(failed.message) < 400


def test_a_server_that_refuses_all_from_the_start_ends_the_run_with_its_words(connect):
    captioner = connect()
    first = captioner.caption([PICTURE] * 15, [f"toolong {n % 2}" for n in range(15)])
    assert all(isinstance(answer, NoCaption) for answer in first), "15 may still be the pictures' own fault"
    with pytest.raises(
        ModelUnavailableError, match=r"(?s)first 16 requests: .*longer than the context.*retry"
    ):
        captioner.caption([PICTURE], ["toolong 1"])


def test_refusals_of_one_prompt_alone_may_be_those_of_a_whole_object(connect):
    captioner = connect()
    assert len(captioner.caption([PICTURE] * 100, ["toolong"] * 100)) == 100
    with pytest.raises(ModelUnavailableError, match="first 128 requests"):
        captioner.caption([PICTURE] * 28, ["toolong"] * 28)


def test_after_one_answer_every_refusal_is_a_failure_of_its_picture(connect):
    captioner = connect()
    prompts = ["fine", *(f"toolong {n}" for n in range(200))]
    answer, *refusals = captioner.caption([PICTURE] * 201, prompts)
    assert isinstance(answer, str)
    assert {type(refusal).__base__ for refusal in refusals} == {NoCaption}
    assert len(captioner.caption([PICTURE] * 20, prompts[1:21])) == 20


def test_a_silent_model_gives_an_empty_caption(connect, make_view: Callable[..., View]):
    views = [make_view(PICTURE, category="silent")]
    (record,) = caption_views(views, connect(), prompt_template="A {category}.", batch_size=1)
    assert isinstance(record, Rejected)
    assert (record.reason, record.attempts) == (EMPTY_CAPTION, 2)


def test_a_rate_limit_that_lasts_ends_the_run_and_blames_no_picture(openai_server, connect):
    with pytest.raises(InfrastructureError, match="asks to wait for 3600 s") as raised:
        connect().caption([PICTURE] * 3, ["fine", "closed", "fine too"])
    assert openai_server.attempts["closed"] == 1, "an hour is not waited for"
    assert raised.value.exit_code == 1


def test_a_server_that_is_gone_ends_the_run_and_blames_no_picture(openai_server, connect):
    captioner = connect(retries=0)
    assert captioner.caption([PICTURE], ["before"])
    openai_server.gone = True
    with pytest.raises(InfrastructureError, match="is gone"):
        captioner.caption([PICTURE, PICTURE], ["after", "after it"])


def test_the_key_comes_from_the_environment_and_shows_nowhere(
    openai_server, connect, monkeypatch: pytest.MonkeyPatch
):
    openai_server.key = KEY
    monkeypatch.setenv("CAPTION_KEY", KEY)
    captioner = connect(api_key_env="CAPTION_KEY")
    assert captioner.caption([PICTURE], ["hello"]) == ["a picture of 20 x 10 RGB: hello"]
    assert KEY not in json.dumps(captioner.identity)
    assert KEY not in repr(vars(captioner)["_options"])


def test_a_refused_key_is_not_repeated_in_the_error(openai_server, connect, monkeypatch: pytest.MonkeyPatch):
    openai_server.key, openai_server.repeats_the_key = "another", True
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ModelUnavailableError, match="refuses access") as raised:
        connect().caption([PICTURE], ["hello"])
    assert KEY not in str(raised.value)
    assert "OPENAI_API_KEY" in str(raised.value)
    captioner = connect()
    assert captioner._cut(f"your key {KEY} is wrong") == "your key *** is wrong"


def test_a_missing_key_is_named(openai_server, monkeypatch: pytest.MonkeyPatch):
    openai_server.key = KEY
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelUnavailableError, match="OPENAI_API_KEY is not set"):
        check(Options(model=MODEL, base_url=openai_server.url, retries=0))


def test_check_asks_for_one_small_picture(openai_server):
    check(Options(model=MODEL, base_url=openai_server.url))
    assert len(openai_server.requests) == 1
    openai_server.models = None
    check(Options(model=MODEL, base_url=openai_server.url))
    assert len(openai_server.requests) == 2, "a server without a list of models is asked all the same"


def test_check_names_the_model_that_was_meant(openai_server):
    with pytest.raises(ModelUnavailableError, match="did you mean 'test/vision-model'"):
        check(Options(model="test/vison-model", base_url=openai_server.url))
    openai_server.models = None
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        check(Options(model="test/vison-model", base_url=openai_server.url))


def test_check_finds_out_that_no_server_answers(openai_server):
    openai_server.gone = True
    with pytest.raises(ModelUnavailableError, match=r"Connection error.*captions\.options\.base_url"):
        check(Options(model=MODEL, base_url=openai_server.url, retries=0))


def test_model_that_disappears_ends_the_run(openai_server, connect):
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        connect(model="test/other").caption([PICTURE], ["hello"])


@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "https://host/v1?key=secret", "host:8000", ""])
def test_url_with_a_secret_or_without_a_host_is_refused(url: str):
    with pytest.raises(ValidationError, match="must"):
        Options(base_url=url)


def test_identity_holds_what_decides_captions_and_not_where_the_server_is(openai_server, connect):
    identity = dict(connect(concurrency=3).identity)
    first = {"max_tokens": 64, "temperature": 0, "seed": 0, "n": 1}
    assert identity["generation"] == first
    assert identity["second_generation"] == first | {"max_tokens": 128, "frequency_penalty": 0.5}
    assert "127.0.0.1" not in json.dumps(identity)


@pytest.mark.parametrize("option", ["api_key_env", "base_url"])
def test_secret_in_the_wrong_place_is_refused_and_not_repeated(option: str):
    secret = {"api_key_env": KEY, "base_url": f"http://me:{KEY}@host/v1"}[option]
    settings = {"captions": {"backend": "openai", "options": {option: secret}}}
    with pytest.raises(ConfigError, match=f"captions.options.{option}") as raised:
        build_config(settings, options_model)
    assert KEY not in str(raised.value)
