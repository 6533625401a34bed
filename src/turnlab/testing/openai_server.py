"""A small real HTTP server that speaks OpenAI's wire format, and misbehaves when told to.

```python
with OpenAIServer(reply="It is sunny.") as server:
    os.environ["OPENAI_BASE_URL"] = server.base_url
    server.misbehave("chat", Refuse(429, "Slow down."))
```

`python -m turnlab.testing.openai_server [--port N] [--first S] [--piece S] [--key KEY]` serves
until it is stopped; the first line that it prints is its base URL. It needs no other package.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from turnlab.testing import openai_wire as wire
from turnlab.testing.openai_misdeeds import Half, Hang, Misdeed, Redirect, Refuse, Send

ENDPOINTS = {
    "/v1/models": "models",
    "/v1/chat/completions": "chat",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/speech": "speech",
}

MODELS = ("gpt-4o", "gpt-4o-mini", "whisper-1", "tts-1")


__all__ = ["Asked", "Half", "Hang", "Misdeed", "OpenAIServer", "Redirect", "Refuse", "Send"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it came; names of headers are in small letters."""

    endpoint: str
    headers: dict[str, str]
    fields: dict[str, Any]
    """The JSON body, or the fields of a form; `file` is the bytes of what was uploaded."""
    connection: tuple[str, int]
    """The client's address: equal for requests on one connection."""


@dataclass(kw_only=True)
class OpenAIServer:
    """What it answers; the endpoints are models, chat, transcription and speech."""

    reply: str = "It is sunny today. Tomorrow it may rain a little."
    transcript: str = "What is the weather like?"
    key: str | None = None
    """The key that it asks for; None: none."""
    first_s: float = 0.0
    """Seconds until it begins to answer."""
    piece_s: float = 0.0
    """Seconds between two pieces of an answer."""
    finish_reason: str = "stop"
    counts: bool = True
    """Whether it tells what was used."""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    """The requests that came, but for those that it refused for their key."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set once a client has closed the connection while it was being answered."""

    def __post_init__(self) -> None:
        self._misdeeds: defaultdict[str, deque[Misdeed]] = defaultdict(deque)
        self.closing = threading.Event()

    def __enter__(self) -> OpenAIServer:
        handler = type("Handler", (_Handler,), {"answers": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def misbehave(self, endpoint: str, *misdeeds: Misdeed) -> None:
        """Answer the next requests to `endpoint` so, one each; the last one goes on."""
        self._misdeeds[endpoint] = deque(misdeeds)

    def requests(self, endpoint: str) -> list[Asked]:
        """Those to one endpoint."""
        return [each for each in self.asked if each.endpoint == endpoint]

    def misdeed(self, endpoint: str) -> Misdeed | None:
        """How to answer the request that has just come, None: well."""
        waiting = self._misdeeds[endpoint]
        return waiting.popleft() if len(waiting) > 1 else waiting[0] if waiting else None


class _Left(Exception):
    """The client has gone, or is to be left."""


class _Handler(BaseHTTPRequestHandler):
    answers: OpenAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the requests are in `asked`."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.answers.left.set()
            self.close_connection = True
        except _Left:
            self.close_connection = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        endpoint = ENDPOINTS.get(self.path)
        if endpoint is None:
            return self._refuse(Refuse(404, f"Unknown path {self.path}.", "not_found"))
        sent = self.headers.get("authorization")
        if self.answers.key is not None and sent != f"Bearer {self.answers.key}":
            # The whole of what was sent, as a careless server does.
            return self._refuse(Refuse(401, f"Incorrect API key provided: {sent}.", "invalid_key"))
        asked = self._asked(endpoint, body)
        self.answers.asked.append(asked)
        misdeed = self.answers.misdeed(endpoint)
        if isinstance(misdeed, Refuse):
            return self._refuse(misdeed)
        if isinstance(misdeed, Send):
            return self._send(misdeed.body, misdeed.content_type, misdeed.status)
        if isinstance(misdeed, Redirect):
            return self._send(b"", "text/plain", 307, misdeed.location)
        self.answers.closing.wait(self.answers.first_s)
        if misdeed == Hang():
            self._hang()
        return self._well(asked, misdeed)

    def _well(self, asked: Asked, misdeed: Misdeed | None) -> None:
        streamed = asked.fields.get("stream") in (True, "true")
        if asked.endpoint == "models":
            listed = [{"id": name, "object": "model"} for name in MODELS]
            self._json({"object": "list", "data": listed})
        elif asked.endpoint == "speech":
            self._stream(wire.sound(asked.fields), wire.sound_type(asked.fields), misdeed)
        elif streamed:
            events = wire.chat if asked.endpoint == "chat" else wire.heard
            self._stream(events(self.answers, asked.fields), "text/event-stream", misdeed)
        elif isinstance(misdeed, Half):
            self._half_json()
        else:
            whole = wire.whole_chat if asked.endpoint == "chat" else wire.whole_transcript
            self._json(whole(self.answers, asked.fields))

    def _asked(self, endpoint: str, body: bytes) -> Asked:
        kind = self.headers.get("content-type", "")
        fields = (
            wire.form(kind, body) if kind.startswith("multipart/") else json.loads(body or b"{}")
        )
        return Asked(
            endpoint=endpoint,
            headers={name.lower(): value for name, value in self.headers.items()},
            fields=fields,
            connection=(self.client_address[0], self.client_address[1]),
        )

    def _stream(self, pieces: Iterator[bytes], content_type: str, misdeed: Misdeed | None) -> None:
        framed = not isinstance(misdeed, Half) or misdeed.framed
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        # Without a length and without chunks, the end of the connection is the end of the answer.
        self.send_header(*(("Transfer-Encoding", "chunked") if framed else ("Connection", "close")))
        self.end_headers()
        for number, piece in enumerate(pieces):
            if isinstance(misdeed, (Half, Hang)) and number == misdeed.pieces:
                self._leave() if isinstance(misdeed, Half) else self._hang()
            self._wait(number)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if framed else piece)
        if framed:
            self.wfile.write(b"0\r\n\r\n")

    def _wait(self, number: int) -> None:
        if number and self.answers.piece_s:
            time.sleep(self.answers.piece_s)

    def _hang(self) -> None:
        self.answers.closing.wait(60)
        raise _Left

    def _leave(self) -> None:
        raise _Left

    def _half_json(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"text": "What is')
        self._leave()

    def _refuse(self, refuse: Refuse) -> None:
        error = {"message": refuse.message, "type": refuse.code, "code": refuse.code}
        self._json({"error": error}, refuse.status)

    def _json(self, body: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(body).encode(), "application/json", status)

    def _send(
        self, body: bytes, content_type: str, status: int, location: str | None = None
    ) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After-Ms", "1")  # tests do not wait
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="to listen on; 0: any that is free")
    parser.add_argument("--first", type=float, default=0.0, help="seconds until it answers")
    parser.add_argument("--piece", type=float, default=0.0, help="seconds between two pieces")
    parser.add_argument("--key", help="the key that it asks for")
    asked = parser.parse_args()
    server = OpenAIServer(port=asked.port, first_s=asked.first, piece_s=asked.piece, key=asked.key)
    with server:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
