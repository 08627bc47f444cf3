"""A real HTTP server that speaks the OpenAI protocol and, where a prompt asks for it, fails.

A prompt that holds one of the words of `FAULTS` meets that fault: on its first request only where the word
is followed by " once", else every time. Any other picture is captioned with its size.
"""

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "test/vision-model"


@dataclass
class Server:
    """What a test sets and sees."""

    url: str = ""
    key: str | None = None
    """Required where set."""
    repeats_the_key: bool = False
    """Whether a refusal holds the key that was sent."""
    models: list[str] | None = field(default_factory=lambda: [MODEL])
    """None for a server without that list."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    """By prompt."""
    at_once: int = 0
    """Most requests that were in work together."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end: lets go of what hangs."""
    rendezvous: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    """Requests that must have come together before they are answered."""
    gone: bool = False
    """Drop every connection from now on."""
    mended: bool = False
    """Caption every picture from now on, whatever its prompt asks for."""


def _message(content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL} | {
        "choices": [{"index": 0, "message": message, "finish_reason": more.get("finish", "stop")}]
    }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": None}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_HTTPServer"

    def do_GET(self) -> None:
        state = self.server.state
        if state.gone:
            self.drop()
        elif self.refuses_key():
            return
        elif self.path.endswith("/models") and state.models is not None:
            self.answer(200, {"object": "list", "data": [{"id": name} for name in state.models]})
        else:
            self.answer(404, _error("no such page"))

    def do_POST(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if state.gone:
            return self.drop()
        if self.refuses_key():
            return None
        state.requests.append(body)
        if body["model"] != MODEL:
            return self.answer(404, _error(f"The model `{body['model']}` does not exist."))
        picture, text = body["messages"][0]["content"]
        prompt = text["text"]
        state.attempts[prompt] += 1
        for word, fault in () if state.mended else FAULTS.items():
            if word in prompt and not (f"{word} once" in prompt and state.attempts[prompt] > 1):
                return fault(self)
        with self.server.counting():
            state.rendezvous.wait(20)
            caption = f"a picture of {_size(picture['image_url']['url'])}: {prompt}"
        return self.answer(200, _message(caption))

    def refuses_key(self) -> bool:
        state, sent = self.server.state, self.headers.get("Authorization", "").removeprefix("Bearer ")
        if state.key is None or sent == state.key:
            return False
        said = f"Incorrect API key provided: {sent}" if state.repeats_the_key else "Incorrect API key"
        self.answer(401, _error(said))
        return True

    def answer(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def hang(self) -> None:
        self.server.state.released.wait(30)
        self.drop()

    def log_message(self, *_: object) -> None:
        pass


def _size(url: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return "{} x {} {}".format(*image.size, image.mode)


FAULTS: dict[str, Callable[[_Handler], None]] = {
    "full": lambda it: it.answer(429, _error("slow down"), **{"Retry-After": "0.2"}),
    "patient": lambda it: it.answer(429, _error("slow down"), **{"Retry-After": "1"}),
    "closed": lambda it: it.answer(429, _error("out of quota"), **{"Retry-After": "3600"}),
    "broken": lambda it: it.answer(500, _error("internal error")),
    "slow": _Handler.hang,
    "dropped": _Handler.drop,
    "malformed": lambda it: it.answer(200, b'{"choices": [{"mess'),
    "html": lambda it: it.answer(200, b"<html>504</html>", **{"Content-Type": "text/html"}),
    "choiceless": lambda it: it.answer(200, _message("") | {"choices": []}),
    "silent": lambda it: it.answer(200, _message(None)),
    "refused": lambda it: it.answer(200, _message(None, refusal="I am sorry. " * 500)),
    "toolong": lambda it: it.answer(400, _error("this picture is longer than the context")),
}


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self._lock = threading.Lock()
        self._working = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        with self._lock:
            self._working += 1
            self.state.at_once = max(self.state.at_once, self._working)
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that went away."""


@contextmanager
def start() -> Iterator[Server]:
    """Serve until the block ends."""
    server = _HTTPServer(state := Server())
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
