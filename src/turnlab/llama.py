"""llama.cpp in this process: a model of a GGUF file, with several contexts of its own."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from turnlab.errors import ModuleFailed, PromptTooLong

_KEPT = "prompt.bin"
_WAIT_S = 60.0


class Llama:
    """A loaded model with `slots` contexts of `context_tokens` each; see QuantizationLLM.Params.

    Threads may ask at once: what is asked of different slots is computed together.
    """

    def __init__(
        self,
        model: Path,
        *,
        slots: int,
        context_tokens: int,
        batch_tokens: int,
        threads: int,
        low_priority: bool,
    ) -> None:
        import xllamacpp

        self._context_tokens = context_tokens
        self._folder = TemporaryDirectory(prefix="turnlab-llama-")
        self._key = secrets.token_urlsafe(32)
        settings = xllamacpp.CommonParams()
        settings.model.path = str(model)
        settings.n_ctx = context_tokens * slots
        settings.n_parallel = slots
        settings.n_gpu_layers = 0
        # A batch of the prompt cannot be interrupted: small ones keep a cancel below 100 ms.
        settings.n_batch = settings.n_ubatch = batch_tokens
        settings.cpuparams.n_threads = threads or os.cpu_count() or 2
        settings.cpuparams_batch.n_threads = settings.cpuparams.n_threads
        if low_priority:
            # It writes as fast, and the other stages wait less while it does.
            settings.cpuparams.priority = settings.cpuparams_batch.priority = -1
        # Old prompts kept beside the contexts would make a repeated question look fast.
        settings.cache_ram_mib = 0
        settings.slot_save_path = f"{self._folder.name}{os.sep}"
        settings.verbosity = -1
        # The library listens on loopback whether wanted or not: nobody else is given the key.
        settings.api_keys = [self._key]
        self._server = xllamacpp.Server(settings)

    def complete(
        self,
        messages: Sequence[dict[str, str]],
        slot: int,
        take: Callable[[dict[str, Any]], bool],
        **sampling: Any,
    ) -> None:
        """Go on with a chat in a slot, whose context keeps what the prompt begins with.

        `take` gets each message of the library and says whether to stop; `sampling` is what the
        OpenAI API takes beside the messages. Raises PromptTooLong, ModuleFailed.
        """
        failed: list[str] = []

        def receive(raw: Any) -> bool:
            chunk = json.loads(raw) if isinstance(raw, (str, bytes)) else raw
            if "error" in chunk or "choices" not in chunk:
                failed.append(str(chunk.get("error", chunk)))
                return True
            return take(chunk)

        request = {
            "messages": list(messages),
            "id_slot": slot,
            "stream": True,
            "return_progress": True,
            "cache_prompt": True,
            **sampling,
        }
        self._server.handle_chat_completions(request, receive)
        if failed and "exceed_context_size" in failed[0]:
            raise PromptTooLong(
                f"The prompt is longer than {self._context_tokens} tokens; raise context_tokens, "
                "or send less speech or history."
            )
        if failed:
            raise ModuleFailed(f"llama.cpp refused the prompt: {failed[0][:500]}")

    def copy(self, slot: int, others: Sequence[int]) -> None:
        """Give other slots what is in the context of one. Raises ModuleFailed."""
        if not others:
            return
        try:
            self._do(slot, "save")
            for other in others:
                self._do(other, "restore")
        finally:
            Path(self._folder.name, _KEPT).unlink(missing_ok=True)

    def close(self) -> None:
        """Free the model."""
        del self._server
        self._folder.cleanup()

    def _do(self, slot: int, action: str) -> None:
        """Save or restore a slot, which the library does for HTTP alone."""
        address = urlsplit(self._server.listening_address)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        body = json.dumps({"filename": _KEPT})
        host, port = address.hostname or "127.0.0.1", address.port
        try:
            with closing(HTTPConnection(host, port, timeout=_WAIT_S)) as connection:
                connection.request("POST", f"/slots/{slot}?action={action}", body, headers)
                answer = connection.getresponse()
                told = answer.read(1_000).decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise ModuleFailed(f"llama.cpp does not answer on loopback: {error}") from error
        if answer.status != 200:
            raise ModuleFailed(f"llama.cpp could not {action} slot {slot}: {told[:500]}")
