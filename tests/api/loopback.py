"""A server on loopback that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, or the `request` part of a form."""
        if self.headers.get("content-type", "").startswith("multipart/"):
            return json.loads(self.parts["request"])
        return json.loads(self.body)

    @property
    def parts(self) -> dict[str, bytes]:
        """The parts of a form by their names."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + self.body).get_payload()
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in parts
        }


@dataclass(frozen=True)
class Answer:
    """What is answered; with `breaks_off` the connection goes before the body is complete."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    breaks_off: bool = False


def said(http: int = 200, headers: dict[str, str] | None = None, /, **content: Any) -> Answer:
    """An answer in JSON."""
    return Answer(http, json.dumps(content).encode(), headers or {})


def problem(status: int, code: str, detail: str = "So it is.", **headers: str) -> Answer:
    """An answer as Turnlab's failures are told."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return said(status, told, code=code, detail=detail, status=status)


@dataclass
class Loopback:
    """The server: `answer` makes an Answer of each Request."""

    answer: Callable[[Request], Answer]
    url: str = ""
    requests: list[Request] = field(default_factory=list)

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests so far, of this method, whose path has `path` in it."""
        return [each for each in self.requests if each.method == method and path in each.path]


@contextmanager
def loopback(answer: Callable[[Request], Answer], port: int = 0) -> Iterator[Loopback]:
    """A server on a free port, or on `port`."""
    server = Loopback(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            server.requests.append(request)
            given = server.answer(request)
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body) + given.breaks_off))
            self.end_headers()
            self.wfile.write(given.body)
            if given.breaks_off:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the requests are kept."""

    httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
