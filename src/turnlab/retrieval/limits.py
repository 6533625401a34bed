"""How much one index takes."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is read and kept; what is beyond is refused by name, never cut off."""

    document_bytes: int = 32 * MIB
    document_characters: int = 8_000_000
    """Text of one document, once read: a small file may unpack to a large one."""
    pdf_pages: int = 2_000
    pdf_seconds: float = 120.0
    """Time for the text of one PDF, looked at between pages."""
    documents: int = 10_000
    passages: int = 100_000
    """In one index; vectors of 384 float32 values then fill 154 MB of memory."""
    files: int = 100_000
    """Looked at below one folder, of whatever kind."""
