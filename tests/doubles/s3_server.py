"""S3 on this machine: moto's server behind a gate that can refuse requests, hold them, and list late.

moto compares and writes in two steps and answers in several threads, so that two conditional puts can both
win, as on no real storage: the gate lets one writing request through at a time.
"""

import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from urllib.request import urlopen
from xml.etree import ElementTree

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "a-secret-that-must-not-be-told"

ElementTree.register_namespace("", "http://s3.amazonaws.com/doc/2006-03-01/")


@dataclass(frozen=True)
class Request:
    """What came over the wire."""

    method: str
    bucket: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def lists(self) -> bool:
        return self.method == "GET" and "list-type" in self.query


Fault = Callable[[Request, dict[str, Any]], tuple[str, bytes] | None]
"""Answers a request with a status line and a body in place of the server, or lets it pass with None."""


def error(status: str, code: str) -> tuple[str, bytes]:
    """Refuse as S3 does."""
    return status, f"<Error><Code>{code}</Code><Message>by the test</Message></Error>".encode()


@dataclass
class S3:
    """The running server. Faults stay until they are taken back."""

    url: str = ""
    bucket: str = ""
    """Made for the present test."""
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    list_lag_s: float = 0.0
    """For so long after its first put, an object is missing from lists."""
    uploads_listed: int = 1000
    """Unfinished uploads in a page of their list; moto knows no pages of them."""
    torn: int = 0
    """So many of the next contents end in the middle."""
    made: dict[tuple[str, str], float] = field(default_factory=dict)
    """When each object was first put."""
    writing: threading.Lock = field(default_factory=threading.Lock)

    def make_bucket(self, name: str) -> None:
        """Make a bucket for the next test, and forget the requests of the last one."""
        urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")).close()
        self.bucket = name
        self.requests.clear()

    def seen(self, method: str, part: str = "") -> list[Request]:
        """The requests so far whose key contains `part`."""
        return [request for request in self.requests if request.method == method and part in request.key]

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)

    def refusing(self, status: str, code: str, *methods: str, part: str = "") -> Any:
        """Refuse what is asked with one of these methods (all, if none is named) of matching keys."""

        def fault(request: Request, _: dict[str, Any]) -> tuple[str, bytes] | None:
            concerned = part in request.key and (not methods or request.method in methods)
            return error(status, code) if concerned else None

        return self.failing(fault)

    def holding(self, begun: threading.Event, method: str, part: str, *, read_bytes: int = 0) -> Any:
        """Take in the first bytes of a matching request's body, set `begun`, and never answer."""

        def fault(request: Request, environ: dict[str, Any]) -> tuple[str, bytes] | None:
            if request.method != method or part not in request.key:
                return None
            environ["wsgi.input"].read(read_bytes)
            begun.set()
            time.sleep(600)
            raise AssertionError("nobody ended the test")

        return self.failing(fault)

    def answering(self, request: Request, content: bytes) -> bytes:
        """Leave new objects out of a list, and cut a list of unfinished uploads to one page."""
        if request.method == "GET" and "uploads" in request.query:
            return _page_of_uploads(request, content, self.uploads_listed)
        if not request.lists or not self.list_lag_s:
            return content
        root = ElementTree.fromstring(content)
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for entry in root.findall(f"{space}Contents"):
            key = entry.findtext(f"{space}Key") or ""
            if time.monotonic() - self.made.get((request.bucket, key), 0) < self.list_lag_s:
                root.remove(entry)
        return ElementTree.tostring(root)


def _page_of_uploads(request: Request, content: bytes, size: int) -> bytes:
    """Keep the uploads after the markers that the request names, and name the next markers."""
    root = ElementTree.fromstring(content)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    after = [request.query.get(name, [""])[0] for name in ("key-marker", "upload-id-marker")]
    left = {}
    for entry in root.findall(f"{space}Upload"):
        root.remove(entry)
        names = [entry.findtext(f"{space}{name}") or "" for name in ("Key", "UploadId")]
        if names > after:
            left[tuple(names)] = entry
    page = sorted(left)[:size]
    root.extend(left[names] for names in page)
    truncated = root.find(f"{space}IsTruncated")
    assert truncated is not None
    truncated.text = "true" if len(left) > size else "false"
    if len(left) > size:
        for name, marker in zip(("NextKeyMarker", "NextUploadIdMarker"), page[-1], strict=True):
            ElementTree.SubElement(root, f"{space}{name}").text = marker
    return ElementTree.tostring(root)


class Gate:
    """The WSGI application in front of moto's."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = _request(environ)
        self._s3.requests.append(request)
        for fault in list(self._s3.faults):
            if answer := fault(request, environ):
                start_response(answer[0], [("Content-Type", "application/xml")])
                return [answer[1] if request.method != "HEAD" else b""]
        if request.method in ("GET", "HEAD"):
            return self._pass(request, environ, start_response)
        with self._s3.writing:
            answer = self._pass(request, environ, start_response)
            self._s3.made.setdefault((request.bucket, request.key), time.monotonic())
            return answer

    def _pass(self, request: Request, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told: list[Any] = []
        chunks = self._moto(environ, lambda *arguments: told.extend(arguments[:2]))
        before = b"".join(chunks)
        content = self._s3.answering(request, before)
        status, headers = told
        if content != before:
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(content))))
        start_response(status, headers)
        if self._s3.torn and request.method == "GET" and request.key:
            self._s3.torn -= 1
            return [content[: len(content) // 2]]  # fewer than the headers promise
        return [content]


def _request(environ: dict[str, Any]) -> Request:
    bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
    headers = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return Request(environ["REQUEST_METHOD"], bucket, key, query, headers)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


@contextmanager
def start() -> Iterator[S3]:
    """Serve until the end of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = S3()
    server = make_server("127.0.0.1", 0, Gate(s3), threaded=True, request_handler=_Handler)
    server.daemon_threads = True
    s3.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
