"""The plain script with the levers pulled by hand; still without Turnlab.

The language model stops while the first phrase is synthesized; that phrase may end before a
connective; leading silence is cut; where audio arrives as it is spoken, it is transcribed and
filled into the prompt meanwhile. The environment variables for threads come from whoever starts it.
"""

from __future__ import annotations

import ctypes
import queue
import re
import threading
import time
from typing import Any, ClassVar

import numpy as np

from benchmarks.parts.plain_script import (
    AUDIBLE,
    RATE,
    Said,
    Samples,
    Script,
    Sound,
    clause_end,
    clauses,
    serve,
)

KEEP_S = 0.005  # of the leading silence, faded in


class Levers(Script):
    """One turn after the other, with all that was learnt about these models."""

    ears: ClassVar[dict[str, str]] = {"return_audio_data": "false", "vad_threshold": "0"}
    """Short speech is transcribed as one piece; no recording here is longer than 12 s."""

    def turn(self, samples: Samples, request: dict[str, Any]) -> Said:
        """One turn, from the recording to the last phrase."""
        start_s = time.monotonic()
        said = Said(zero_s=start_s)
        if request["pace"] == "realtime":
            said.zero_s = start_s + request["last_voiced_s"]
            said.transcript = self._listen(samples, start_s, request["last_voiced_s"])
        else:
            said.transcript = self.models.transcribe(samples)
        self.answer(said)
        return said

    def _listen(self, samples: Samples, start_s: float, last_voiced_s: float) -> str:
        """Transcribe and prefill what has been spoken, again and again; then the rest."""
        stream = self.models.ears.create_stream(update_interval=float("inf"))
        stream.start()
        at, text = 0, ""
        while (spoken_s := at / RATE + self.settings["update_interval_s"]) < last_voiced_s:
            time.sleep(max(0.0, start_s + spoken_s - time.monotonic()))
            end = int(min(time.monotonic() - start_s, last_voiced_s) * RATE)
            heard = self._hear(stream, samples[at:end])
            at = end
            if heard and heard != text:
                text = heard
                self.models.write(text, lambda piece: True, max_tokens=1)
        time.sleep(max(0.0, start_s + last_voiced_s - time.monotonic()))
        text = self._hear(stream, samples[at:])
        stream.close()
        return text

    def _hear(self, stream: Any, samples: Samples) -> str:
        data = np.ascontiguousarray(samples, dtype=np.float32)
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        ears = self.models.ears
        stream._lib.moonshine_transcribe_add_audio_to_stream(
            ears._handle, stream._handle, pointer, len(data), RATE, 0
        )
        lines = stream.update_transcription(ears.MOONSHINE_FLAG_FORCE_UPDATE).lines
        return " ".join(line.text.strip() for line in lines if line.text.strip())

    def answer(self, said: Said) -> None:
        """Write up to the first phrase, speak that alone, then go on with both at once."""
        tokens = 0
        end: int | None = None

        def take(piece: str) -> bool:
            nonlocal tokens, end
            said.reply += piece
            tokens += 1
            end = self._first_end(said.reply)
            return end is not None

        start_s = time.monotonic()
        self.models.write(said.transcript, take)
        began_s = time.monotonic()
        said.writing_s = began_s - start_s
        said.sounds.append(self._speak_trimmed(said.reply[:end].strip()))
        left = self.settings["max_tokens"] - tokens
        if end is not None and left > 0:
            said.pauses, said.paused_s = 1, time.monotonic() - began_s
            self._go_on(said, end, left)

    def _go_on(self, said: Said, end: int, left: int) -> None:
        pieces: queue.Queue[str | None] = queue.Queue()
        pieces.put(said.reply[end:])

        def take(piece: str) -> bool:
            said.reply += piece
            pieces.put(piece)
            return False

        def speak() -> None:
            for clause in clauses(iter(pieces.get, None), 1):
                said.sounds.append(self._speak_trimmed(clause))

        speaking = threading.Thread(target=speak)
        speaking.start()
        start_s = time.monotonic()
        try:
            self.models.write(said.transcript, take, so_far=said.reply, max_tokens=left)
            said.writing_s += time.monotonic() - start_s
        finally:
            pieces.put(None)
            speaking.join()

    def _first_end(self, text: str) -> int | None:
        end = clause_end(text, self.settings["first_words"])
        if end is not None:
            return end
        for word in re.finditer(r"\s(\w+)(?=\s)", text):
            enough = len(text[: word.start()].split()) >= self.settings["first_limit"]
            if enough and word[1].lower() in self.settings["connectives"]:
                return word.start()
        return None

    def _speak_trimmed(self, text: str) -> Sound:
        sound = self.models.speak(text)
        loud = np.abs(sound.samples) >= AUDIBLE
        if loud.any():
            keep = int(KEEP_S * sound.rate)
            sound.samples = sound.samples[max(0, int(loud.argmax()) - keep) :].copy()
            sound.samples[:keep] *= np.linspace(0, 1, len(sound.samples[:keep]), dtype=np.float32)
        return sound


if __name__ == "__main__":
    serve(Levers)
