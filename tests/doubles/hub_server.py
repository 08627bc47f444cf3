"""A Hugging Face hub on this machine: it resolves, describes and takes files in a folder, and can fail.

A folder `datasets/OWNER/NAME` (or `models/OWNER/NAME`) below the root is a repository with one commit.
As on the hub, a HEAD of a large file answers with a redirect to another host that serves its bytes (here
`localhost`, where the hub itself is `127.0.0.1`), and with the headers `X-Repo-Commit`, `X-Linked-Size` and
`X-Linked-ETag`, its sha256.

Uploads need the token `TOKEN` and go the way of Git LFS, which `huggingface_hub` takes with
`HF_HUB_DISABLE_XET=1`: repository, upload modes, batch, bytes to `lfs/` below the root, commit. A branch is a
folder `NAME@BRANCH`.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "hf_a-token-that-this-hub-takes"
KEPT_IN_GIT_BYTES = 64
"""Smaller files are served by the hub itself, under git's own checksum; others are LFS files."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


Fault = Callable[["Handler", Path], bool]
"""Answers a request in place of the server, where it returns True."""


@dataclass
class Hub:
    """A running hub. `faults` maps the end of a path to the faults that its next requests meet, in turn."""

    root: Path
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    faults: dict[tuple[str, str], list[Fault]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    private: dict[str, bool] = field(default_factory=dict)
    """Repositories that were made here."""
    commits: list[list[str]] = field(default_factory=list)
    """Paths that each commit added or deleted."""

    def folder(self, kind: str, name: str, revision: str | None) -> Path:
        plain = self.root / kind / name
        return plain if revision in (None, "main", COMMIT) else plain.with_name(f"{plain.name}@{revision}")

    def fail(self, method: str, path: str, *faults: Fault) -> None:
        """Let the next requests of `method` for a file meet these faults, one each."""
        self.faults.setdefault((method, path), []).extend(faults)

    def seen(self, method: str, ending: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and r.path.endswith(ending)]

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for (asked, ending), faults in self.faults.items():
                if asked == method and path.endswith(ending) and faults:
                    return faults.pop(0)
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _note(self) -> str:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append(
                Request(self.command, path, {k.title(): v for k, v in self.headers.items()})
            )
        return path

    def do_PUT(self) -> None:
        path = self._note()
        target = self.hub.root / "lfs" / path.rpartition("/")[2]
        if (fault := self.hub.next_fault("PUT", path)) and fault(self, target):
            self.close_connection = True
            return None
        content = self._sent()
        if hashlib.sha256(content).hexdigest() != target.name:  # a sender that died
            return self.refuse(400)
        target.parent.mkdir(exist_ok=True)
        part = target.with_name(f"{target.name}.{threading.get_ident()}")
        part.write_bytes(content)
        part.rename(target)
        return self.refuse(200)

    def do_POST(self) -> None:
        path = self._note()
        content = self._sent()
        if (fault := self.hub.next_fault("POST", path)) and fault(self, self.hub.root):
            return None
        if path == "/api/validate-yaml":
            return self.json({})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401)
        if path == "/api/repos/create":
            return self._create(json.loads(content))
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/(.+)", path):
            return self._preupload(self.hub.folder("datasets", match[1], match[2]), json.loads(content))
        if match := re.fullmatch(r"/datasets/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(content))
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/(.+)", path):
            return self._commit(self.hub.folder("datasets", match[1], match[2]), content)
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/branch/(.+)", path):
            self.hub.folder("datasets", match[1], match[2]).mkdir(exist_ok=True)
            return self.json({})
        return self.refuse(404)

    def _sent(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if (self.hub.root / "datasets" / name).exists():
            return self.json({"url": f"{self.hub.url}/datasets/{name}"}, status=409)
        (self.hub.root / "datasets" / name).mkdir(parents=True)
        self.hub.private[name] = wanted.get("private") or wanted.get("visibility") == "private"
        return self.json({"url": f"{self.hub.url}/datasets/{name}"})

    def _preupload(self, folder: Path, wanted: dict[str, Any]) -> None:
        told = [
            {
                "path": file["path"],
                "uploadMode": "regular" if is_text(file["path"]) else "lfs",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in wanted["files"]
        ]
        self.json({"files": told})

    def _batch(self, wanted: dict[str, Any]) -> None:
        """Say where to put what is not in the store yet."""
        told = []
        for each in wanted["objects"]:
            lacks = not (self.hub.root / "lfs" / each["oid"]).exists()
            where = {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}
            told.append({**each, **({"actions": where} if lacks else {})})
        self.json({"transfer": "basic", "objects": told})

    def _commit(self, folder: Path, content: bytes) -> None:
        """Apply all of a commit, or nothing where an object is not in the store."""
        operations = [json.loads(line) for line in content.splitlines()]
        written: dict[str, bytes | None] = {}
        for each in operations:
            key, value = each["key"], each["value"]
            if key == "file":
                written[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                stored = self.hub.root / "lfs" / value["oid"]
                if not stored.exists() or sha256(stored) != value["oid"]:
                    return self.refuse(400)
                written[value["path"]] = stored.read_bytes()
            elif key == "deletedFile":
                written[value["path"]] = None
        for path, data in written.items():
            target = folder / path
            if data is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        self.hub.commits.append(list(written))
        name = folder.relative_to(self.hub.root).as_posix().partition("@")[0]
        return self.json({"commitUrl": f"{self.hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _serve(self) -> None:
        path = self._note()
        if match := re.fullmatch(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self._info(*match.groups())
        elif match := re.fullmatch(r"/api/(datasets|models)/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", path):
            self._tree(*match.groups())
        elif match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve("datasets" if match[1] else "models", match[2], match[3], match[4])
        elif match := re.fullmatch(r"/cdn/(.+)", path):
            self._content(self.hub.root / match[1])
        elif path == "/api/whoami-v2":
            self._who()
        else:
            self.refuse(404)

    def _who(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401)
        self.json({"type": "user", "name": "somebody"})

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        folder = self.hub.root / kind / name
        if not folder.is_dir():
            return self.refuse(401)  # as the hub says of names it does not know
        if revision not in (None, "main", COMMIT):
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        self.json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": each} for each in names]})

    def _tree(self, kind: str, name: str, revision: str, under: str) -> None:
        folder = self.hub.folder(kind, name, revision)
        entries = [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": git_sha1(path),
                **(
                    {}
                    if is_text(path.name)
                    else {"lfs": {"oid": sha256(path), "size": path.stat().st_size, "pointerSize": 130}}
                ),
            }
            for path in sorted((folder / under).rglob("*"))
            if path.is_file()
        ]
        self.json(entries)

    def _resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        folder = self.hub.folder(kind, name, revision)
        path = folder / file
        if fault := self.hub.next_fault(self.command, file):
            if fault(self, path):
                return None
        elif not (self.hub.root / kind / name).is_dir():
            return self.refuse(401)
        if revision not in ("main", COMMIT) and not folder.is_dir():
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if not path.is_file():
            return self.refuse(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        if path.stat().st_size < KEPT_IN_GIT_BYTES:
            return self._content(path, {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(path)}"'})
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
        location = f"{elsewhere}/cdn/{path.relative_to(self.hub.root).as_posix()}"
        headers = {
            "Location": location,
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(path.stat().st_size),
            "X-Linked-ETag": f'"{sha256(path)}"',
            "Content-Length": "0",
        }
        self.head(302, headers)

    def _content(self, path: Path, headers: dict[str, str] | None = None) -> None:
        if (fault := self.hub.next_fault(self.command, path.name)) and fault(self, path):
            return
        content, start = path.read_bytes(), 0
        status, extra = 200, dict(headers or {})
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(match[1]), 206
            extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.body(status, content[start:], extra)

    def body(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.head(status, {"Content-Length": str(len(content)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, content: Any, *, status: int = 200) -> None:
        self.body(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.body(status, b"", headers)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


# --- faults ----------------------------------------------------------------------------------------


def refusing(status: int, **headers: str) -> Fault:
    """Answer with a status, such as 403 or 429; `Retry_After` becomes the header `Retry-After`."""

    def fault(handler: Handler, _path: Path) -> bool:
        handler.refuse(status, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def rate_limited(seconds: int) -> Fault:
    return refusing(429, Retry_After=str(seconds))


def gated() -> Fault:
    return refusing(403, X_Error_Code="GatedRepo")


def dying_after(share: float) -> Fault:
    """Promise the whole file, send a share of it and cut the connection."""

    def fault(handler: Handler, path: Path) -> bool:
        content = path.read_bytes()
        handler.head(200, {"Content-Length": str(len(content))})
        handler.wfile.write(content[: int(len(content) * share)])
        handler.close_connection = True
        return True

    return fault


def truncated(share: float) -> Fault:
    """Send a share of the file as if it were the whole."""

    def fault(handler: Handler, path: Path) -> bool:
        content = path.read_bytes()
        handler.body(200, content[: int(len(content) * share)])
        return True

    return fault


def corrupted() -> Fault:
    """Send as many bytes as there are, but one of them changed."""

    def fault(handler: Handler, path: Path) -> bool:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        handler.body(200, bytes(content))
        return True

    return fault


def stuck(reached: threading.Event, seconds: float) -> Fault:
    """Tell that a request has come, and do not answer it."""

    def fault(_handler: Handler, _path: Path) -> bool:
        reached.set()
        time.sleep(seconds)
        return True

    return fault


def is_text(path: str) -> bool:
    """Tell whether the hub keeps a file in git itself, by the endings that it knows."""
    return path.endswith((".md", ".json"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def start(root: Path) -> Iterator[Hub]:
    """Serve the repositories below a folder until the block ends."""
    hub = Hub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
