"""Any server that speaks the OpenAI protocol, such as vLLM or SGLang, with whatever it serves: Qwen-VL, ...

The API key comes from an environment variable and from nowhere else: it is in no option, identity or
message. On a cluster every node with a captioner needs that variable.
"""

import base64
import io
import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import openai
import PIL
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator

from captions.captioner import Captioner, Json, NoCaption, Picture
from mvcap.config import OPERATIONAL
from mvcap.errors import ERROR, TIMEOUT, InfrastructureError, ModelUnavailableError, did_you_mean

DEFAULT_KEY_VARIABLE: Final = "OPENAI_API_KEY"
NO_KEY: Final = "none"
"""What servers without authentication are sent: the client insists on something."""
SHOWN_CHARACTERS: Final = 300
"""Of what a server says; refusals can be long."""
SECOND_FREQUENCY_PENALTY: Final = 0.5
"""Against loops in a caption written again. The protocol's range is -2 to 2; OpenAI's reference calls 0.1
to 1 reasonable where repetition is to be reduced and no more."""

REFUSED_AT_FIRST: Final = 16
"""Refusals, of more than one prompt, without a single answer before them: the server, not the pictures. Were
even half of all views refused for what they show, one run in 65,000 would begin with so many."""
REFUSED_FOR_ONE_PROMPT: Final = 128
"""The same where all have one prompt: more than the 100 views that an object has unless told otherwise, since
a server may refuse a category by its name."""


class Options(BaseModel):
    """Which server and model, and how it writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """As the server calls it."""
    base_url: Annotated[str, OPERATIONAL] = "http://localhost:8000/v1"
    api_key_env: Annotated[str, OPERATIONAL, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] = DEFAULT_KEY_VARIABLE
    """Name of the environment variable with the key; servers without authentication need none."""
    max_new_tokens: int = Field(64, ge=1)
    temperature: Literal[0] = 0
    """Sampling would make a caption depend on when it was asked for."""
    seed: int = 0
    concurrency: Annotated[int, OPERATIONAL] = Field(16, ge=1)
    """Requests at once; more than `captions.batch_size` never come together."""
    timeout_s: Annotated[float, OPERATIONAL] = Field(120.0, gt=0)
    """For each attempt at a request."""
    retries: Annotated[int, OPERATIONAL] = Field(5, ge=0)
    """Further attempts after a full or failing server; its Retry-After is honoured up to two minutes."""

    @field_validator("base_url")
    @classmethod
    def _refuse_secrets_in_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no password and no query; the key belongs into the environment")
        return url


def check(options: Options) -> None:
    """Ask the server whether it has the model, and let it caption one small picture.

    The picture shows what no list of models tells: whether the model sees, and takes these settings.

    Raises:
        ModelUnavailableError: no server answers, or it refuses; the message says what to do.
    """
    with OpenAICaptioner(options) as captioner:
        captioner.require_model()
        try:
            answer = captioner.caption([Image.new("RGB", (64, 64), "grey")], ["Describe the image."])[0]
        except InfrastructureError as error:
            raise ModelUnavailableError(str(error)) from error
    if isinstance(answer, NoCaption):
        raise ModelUnavailableError(f"{options.model} at {options.base_url} cannot caption: {answer.message}")


def create(options: Options) -> Captioner:
    """Connect to the server; nothing is loaded here."""
    return OpenAICaptioner(options)


class OpenAICaptioner:
    """A client of a served model. Whether captions repeat exactly is up to the server."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._key = os.environ.get(options.api_key_env) or NO_KEY
        self._client = openai.OpenAI(
            base_url=options.base_url,
            api_key=self._key,
            timeout=options.timeout_s,
            max_retries=options.retries,
        )
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="openai")
        self._ever_answered = False
        self._refused_prompts: list[str] = []
        """Of all requests, as long as none was answered."""

    @property
    def identity(self) -> Mapping[str, Json]:
        return {
            "backend": "openai",
            "model": self._options.model,
            "picture": "png",
            "generation": self._generation_arguments(),
            "second_generation": self._second_arguments(),
            "versions": {
                "python": platform.python_version(),
                "openai": openai.__version__,
                "pillow": PIL.__version__,
            },
        }

    def prepare(self, image: Image.Image) -> str:
        """Encode an RGB picture, without loss, as a data URL."""
        image.save(buffer := io.BytesIO(), "PNG", compress_level=1)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str | NoCaption]:
        """Write the captions of pictures, in order, with several requests at once.

        A picture that the server cannot caption, though it answers otherwise, gets a `NoCaption`.

        Raises:
            ModelUnavailableError: the server refuses the key, no longer has the model, or has refused each of
                the first requests.
            InfrastructureError: it is gone, or limits the rate for longer than the retries last.
        """
        return self._ask_all(images, prompts, self._generation_arguments())

    def caption_again(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str | NoCaption]:
        """Write captions that loop less and have room to end; errors are those of `caption`.

        The protocol has no word for a shortest caption, so silence mostly stays silence. A server that
        refuses these settings gives a `NoCaption` for each picture, and the first captions stand.
        """
        return self._ask_all(images, prompts, self._second_arguments())

    def _ask_all(
        self, images: Sequence[Picture], prompts: Sequence[str], arguments: Mapping[str, Json]
    ) -> list[str | NoCaption]:
        urls = (image if isinstance(image, str) else self.prepare(image) for image in images)
        requests = [
            self._pool.submit(self._ask, url, prompt, arguments)
            for url, prompt in zip(urls, prompts, strict=True)
        ]
        try:
            answers = [request.result() for request in requests]
        finally:
            for request in requests:
                request.cancel()  # after an error, those that wait have no chance either
        if any(isinstance(answer, _ServerTrouble) for answer in answers):
            self._require_server()
        self._require_any_answer(answers, prompts)
        return answers

    def _ask(self, url: str, prompt: str, arguments: Mapping[str, Any]) -> str | NoCaption:
        content: Any = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": prompt},
        ]
        try:
            answer = self._client.chat.completions.create(
                model=self._options.model, messages=[{"role": "user", "content": content}], **arguments
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise self._unavailable(error) from error
        except openai.RateLimitError as error:
            raise InfrastructureError(self._overloaded(error)) from error
        except openai.APITimeoutError:
            return _ServerTrouble(TIMEOUT, f"no answer within {self._options.timeout_s:g} s, several times")
        except (openai.APIConnectionError, openai.InternalServerError) as error:
            return _ServerTrouble(ERROR, self._said(error))
        except openai.APIStatusError as error:
            return _Refusal(ERROR, self._said(error))
        except openai.OpenAIError as error:
            return NoCaption(ERROR, self._said(error))
        except ValueError:  # what the client's JSON parser raises
            return NoCaption(ERROR, "the server's answer is not JSON")
        return self._read(answer)

    def _read(self, answer: Any) -> str | NoCaption:
        """Take the caption out of an answer, whose shape nobody has checked."""
        try:
            choice = answer.choices[0]
            text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
            finish = choice.finish_reason
        except (AttributeError, LookupError, TypeError):
            return NoCaption(ERROR, f"the server's answer holds no caption: {self._cut(str(answer))}")
        if refusal or finish == "content_filter":
            return NoCaption(ERROR, f"the model refused: {self._cut(str(refusal or text))}")
        return text if isinstance(text, str) else ""

    def require_model(self) -> None:
        """Make sure that the server lists the model; some servers keep no list, which is no obstacle.

        Raises:
            ModelUnavailableError: it does not answer, refuses the key, or serves other models only.
        """
        try:
            served = [model.id for model in self._client.models.list()]
        except (openai.NotFoundError, ValueError, TypeError, AttributeError):
            return
        except openai.OpenAIError as error:
            raise self._unavailable(error) from error
        model = self._options.model
        if model not in served:
            raise ModelUnavailableError(
                f"the server at {self._options.base_url} does not serve {model!r}"
                f"{did_you_mean(model, served)} (it serves: {', '.join(served) or 'nothing'})"
            )

    def _require_server(self) -> None:
        """Tell a server that fails on some pictures from one that is gone.

        Raises:
            InfrastructureError: it is gone.
        """
        try:
            self._client.models.list()
        except (openai.APIConnectionError, openai.InternalServerError) as error:
            raise InfrastructureError(
                f"the caption server at {self._options.base_url} is gone: {self._said(error)}; "
                "the same command goes on once it is back"
            ) from error
        except (openai.OpenAIError, ValueError):
            return  # whatever it says, it speaks

    def _require_any_answer(self, answers: Sequence[str | NoCaption], prompts: Sequence[str]) -> None:
        """Tell a server that refuses some pictures from one that takes none as they are sent.

        Raises:
            ModelUnavailableError: it has answered nothing yet, and refused more than chance explains.
        """
        refusals = [answer for answer in answers if isinstance(answer, _Refusal)]
        trouble = [answer for answer in answers if isinstance(answer, _ServerTrouble)]
        self._ever_answered |= len(refusals) + len(trouble) < len(answers)
        if self._ever_answered or not refusals:
            return
        refused = self._refused_prompts
        refused += [
            prompt for prompt, answer in zip(prompts, answers, strict=True) if isinstance(answer, _Refusal)
        ]
        limit = REFUSED_AT_FIRST if len(set(refused)) > 1 else REFUSED_FOR_ONE_PROMPT
        if len(refused) >= limit:
            raise ModelUnavailableError(
                f"the server at {self._options.base_url} has refused each of the first {len(refused)} "
                f"requests: {refusals[-1].message}\nChange what it objects to (captions.options.model and "
                "max_new_tokens, captions.prompt, or the server's own limits, of a picture's size and of its "
                "context), then give the same command again. Views of shards that were done before are "
                "rejected already: `mvcap retry` with --failed asks for these once more"
            )

    def _generation_arguments(self) -> dict[str, Json]:
        options = self._options
        return {
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            "seed": options.seed,
            "n": 1,
        }

    def _second_arguments(self) -> dict[str, Json]:
        return self._generation_arguments() | {
            "max_tokens": 2 * self._options.max_new_tokens,
            "frequency_penalty": SECOND_FREQUENCY_PENALTY,
        }

    def _unavailable(self, error: openai.OpenAIError) -> ModelUnavailableError:
        where, variable = self._options.base_url, self._options.api_key_env
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            lacking = "" if self._key != NO_KEY else f", and {variable} is not set"
            return ModelUnavailableError(
                f"the server at {where} refuses access (HTTP {status}){lacking}: put its API key into the "
                f"environment variable {variable}"
            )
        remedy = ""
        if isinstance(error, openai.APIConnectionError):
            remedy = (
                " Start the server, or name another with --set captions.options.base_url=http://HOST:PORT/v1"
            )
        return ModelUnavailableError(
            f"cannot use {self._options.model!r} at {where}: {self._said(error)}{remedy}"
        )

    def _overloaded(self, error: openai.RateLimitError) -> str:
        wait = error.response.headers.get("Retry-After")
        asked = f", which asks to wait for {wait} s" if wait else ""
        return (
            f"the caption server at {self._options.base_url} limits the rate (HTTP 429){asked}, and went on "
            f"after {self._options.retries} retries; the same command goes on later. Lower "
            "captions.options.concurrency"
        )

    def _said(self, error: Exception) -> str:
        return self._cut(str(error) or type(error).__name__)

    def _cut(self, text: str) -> str:
        """Shorten what a server said, and take out the key, which some servers repeat."""
        if self._key != NO_KEY:
            text = text.replace(self._key, "***")
        line = " ".join(text.split())
        return line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + " ..."

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _ServerTrouble(NoCaption):
    """A failure that may be the server's own."""


class _Refusal(NoCaption):
    """An answer of HTTP 4xx."""
