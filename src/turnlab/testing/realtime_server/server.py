"""The server itself: its address, its connections, what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.http11 import Response as Refusal
from websockets.sync.server import ServerConnection, serve

from turnlab.testing.realtime_server.answers import RATE, Answer, Fault, Response, Step, Then, ids
from turnlab.testing.realtime_server.rules import item_of, problem

LEAST_AUDIO_BYTES = RATE // 10 * 2
"""A commit of less than 100 ms is refused."""


class RealtimeServer:
    """Speaks the events of the OpenAI Realtime protocol in their order, over a real WebSocket.

    `with RealtimeServer() as server:` serves on `server.url`, in threads of its own, so that
    tests with and without an event loop can use it. The client says where its turn ends
    (`input_audio_buffer.commit`): there is no voice activity detection. `refuse` is the HTTP
    status that the handshake is refused with (`refusal` its body), `key` the only key that is
    accepted, `fault` what goes wrong later.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        fault: Fault | None = None,
        refuse: int | None = None,
        refusal: str = "",
        key: str | None = None,
    ) -> None:
        self.answer, self.fault = answer or Answer(), fault
        self.refuse, self.refusal, self.key = refuse, refusal, key
        self.requests: list[Request] = []
        """The handshakes."""
        self.received: list[dict[str, Any]] = []
        """All events that clients sent, in order."""
        self.sent: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        """What of the events received the protocol forbids."""
        self.closed = threading.Event()
        """Set when a client has gone."""
        self._change = threading.Condition()

    def __enter__(self) -> Self:
        self._server = serve(
            self._talk, "127.0.0.1", 0, process_request=self._check, compression=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its base_url: ws://127.0.0.1:PORT/v1."""
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type that clients sent."""
        return [event for event in self.received if event.get("type") == kind]

    def until(self, happened: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Wait until `happened` of what was received and sent; whether it did in time.

        It blocks: beside an event loop call it in a thread.
        """
        with self._change:
            return self._change.wait_for(happened, timeout_s)

    def note(self, log: list[dict[str, Any]], event: dict[str, Any]) -> None:
        """Add to `received` or `sent`."""
        with self._change:
            log.append(event)
            self._change.notify_all()

    @property
    def heard(self) -> NDArray[np.int16]:
        """All samples that clients appended, 16 bits at 24 kHz."""
        parts = [base64.b64decode(e["audio"]) for e in self.events("input_audio_buffer.append")]
        return np.frombuffer(b"".join(parts), dtype="<i2")

    def _check(self, connection: ServerConnection, request: Request) -> Refusal | None:
        """Refuse the handshake where it must be."""
        self.requests.append(request)
        address = urlsplit(request.path)
        if self.refuse is not None:
            return connection.respond(HTTPStatus(self.refuse), self.refusal)
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Incorrect API key provided.")
        if address.path != "/v1/realtime" or "model" not in parse_qs(address.query):
            return connection.respond(HTTPStatus.NOT_FOUND, "There is /v1/realtime?model=NAME.")
        return None

    def _talk(self, connection: ServerConnection) -> None:
        session = _Session(self, connection)
        with suppress(ConnectionClosed):
            session.run()
        with suppress(ConnectionClosed):
            session.read_rest()
        self.closed.set()


class _Session:
    """One client, from session.created to the end of its connection."""

    def __init__(self, server: RealtimeServer, connection: ServerConnection) -> None:
        self.server, self.connection = server, connection
        self.config: dict[str, Any] = {"type": "realtime", "output_modalities": ["audio"]}
        self.buffered = 0
        self.last_item: str | None = None
        self.response: Response | None = None
        self.steps: Iterator[Step] = iter(())
        self.stalled = False

    def run(self) -> None:
        """Read and answer; go on with a response while nothing comes."""
        while self.server.fault is Fault.MUTE:
            self._receive(None)
        self._send(type="session.created", session={"id": ids("sess"), **self.config})
        while True:
            busy = self.response is not None and not self.stalled
            event = self._receive(0 if busy else None)
            if event is None:
                self._go_on()
            elif complaint := problem(event):
                self._refuse(event, "invalid_value", complaint)
            else:
                self._take(event)

    def read_rest(self) -> None:
        """Take note of what the client had sent before it left."""
        while self._receive(0) is not None:
            pass

    def _receive(self, timeout_s: float | None) -> dict[str, Any] | None:
        try:
            event: dict[str, Any] = json.loads(self.connection.recv(timeout_s))
        except TimeoutError:
            return None
        self.server.note(self.server.received, event)
        return event

    def _send(self, **event: Any) -> None:
        event = {"event_id": ids("event"), **event}
        self.server.note(self.server.sent, event)
        self.connection.send(json.dumps(event))

    def _refuse(self, event: Mapping[str, Any], code: str, message: str) -> None:
        self.server.complaints.append(message)
        self._error(event, code, message)

    def _error(self, event: Mapping[str, Any], code: str, message: str) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message}
        of = {"param": None, "event_id": event.get("event_id")}
        self._send(type="error", error={**error, **of})

    def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self._update(event)
            case "input_audio_buffer.append":
                self.buffered += len(base64.b64decode(event["audio"]))
            case "input_audio_buffer.clear":
                self.buffered = 0
                self._send(type="input_audio_buffer.cleared")
            case "input_audio_buffer.commit":
                self._commit(event)
            case "conversation.item.create":
                self._add(item_of(event["item"]))
            case "response.create":
                self._begin(event)
            case "response.cancel":
                self._cancel(event)

    def _update(self, event: dict[str, Any]) -> None:
        if self.server.fault is Fault.REFUSE_SESSION:
            self._error(event, "invalid_value", "The voice is not known.")
            return
        self.config |= event["session"]
        told = dict(self.config)
        if self.server.fault is Fault.OTHER_FORMAT:
            told["audio"] = {"output": {"format": {"type": "audio/pcmu"}}}
        self._send(type="session.updated", session=told)

    def _commit(self, event: dict[str, Any]) -> None:
        if self.buffered < LEAST_AUDIO_BYTES:
            code = "input_audio_buffer_commit_empty"
            self._refuse(event, code, "The buffer holds less than 100 ms of audio.")
            return
        self.buffered = 0
        item = item_of({"type": "message", "role": "user", "content": [{"type": "input_audio"}]})
        of = {"item_id": item["id"]}
        previous = {"previous_item_id": self.last_item}
        self._send(type="input_audio_buffer.committed", **of, **previous)
        self._add(item)
        if self.config.get("audio", {}).get("input", {}).get("transcription"):
            self._transcribe({**of, "content_index": 0})

    def _add(self, item: dict[str, Any]) -> None:
        for what in ("added", "done"):
            previous = {"previous_item_id": self.last_item}
            self._send(type=f"conversation.item.{what}", item=item, **previous)
        self.last_item = item["id"]

    def _transcribe(self, of: dict[str, Any]) -> None:
        kind = "conversation.item.input_audio_transcription"
        if self.server.fault is Fault.UNHEARD:
            error = {"type": "transcription_error", "message": "The audio was not understood."}
            self._send(type=f"{kind}.failed", **of, error=error)
            return
        heard, usage = self.server.answer.heard, {"type": "duration", "seconds": 1}
        self._send(type=f"{kind}.delta", **of, delta=heard)
        text = None if self.server.fault is Fault.NULL_TRANSCRIPT else heard
        self._send(type=f"{kind}.completed", **of, transcript=text, usage=usage)

    def _begin(self, event: dict[str, Any]) -> None:
        if self.response is not None:
            code = "conversation_already_has_active_response"
            self._refuse(event, code, "A response is under way.")
            return
        if self.server.fault is Fault.ERROR:
            self._error(event, "inference_failed", "The model is out of order.")
            return
        metadata = (event.get("response") or {}).get("metadata")
        answer, fault = self.server.answer, self.server.fault
        self.response = Response(answer, fault, metadata, self.last_item)
        self.steps, self.stalled = self.response.steps(), False

    def _cancel(self, event: dict[str, Any]) -> None:
        if self.response is None:
            self._refuse(event, "response_cancel_not_active", "No response is under way.")
            return
        done, self.response = self.response.done("cancelled"), None
        self._send(**done)

    def _go_on(self) -> None:
        """Send the next of the response."""
        match next(self.steps, None):
            case None:
                self.response = None
            case Then.STALL:
                self.stalled = True
            case Then.CLOSE:
                self.connection.close(1011, "internal error")
            case str(text):
                self.connection.send(text)
            case dict(event):
                self._send(**event)
                if event["type"] == "conversation.item.done":
                    self.last_item = event["item"]["id"]
