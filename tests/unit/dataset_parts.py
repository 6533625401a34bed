"""Small recordings, pictures and manifests for the tests of datasets."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def wav(number: int = 1, *, seconds: float = 0.05, rate: int = 16_000) -> bytes:
    """A tone, another one for each number."""
    samples = 0.3 * np.sin(np.arange(round(seconds * rate)) * 0.05 * number)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def png(number: int = 0) -> bytes:
    """A picture of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, number % 256]))
    ends = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + ends


def write_manifest(folder: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    """A dataset in `folder`: `a.wav` to `d.wav`, `p.png`, and these lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate("abcd", 1):
        (folder / f"{name}.wav").write_bytes(wav(number))
    (folder / "p.png").write_bytes(png())
    (folder / "manifest.jsonl").write_bytes(b"".join(_line(line) + b"\n" for line in lines))
    return folder


def _line(line: dict[str, Any] | str | bytes) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()
