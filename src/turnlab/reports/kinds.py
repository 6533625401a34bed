"""How each kind of span looks, everywhere: the colours of Okabe and Ito (2008)."""

from __future__ import annotations

from dataclasses import dataclass

from turnlab.profiles import SpanKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colour, the ink that can be read on it, a fill for terminals, and what the kind means."""

    colour: str
    ink: str
    block: str
    ascii: str
    meaning: str


LOOKS = {
    SpanKind.ENDPOINTING: Look(
        colour="#CC79A7", ink="#000", block="▚", ascii="?", meaning="deciding that the user ended"
    ),
    SpanKind.QUEUE: Look(
        colour="#D55E00", ink="#000", block="▒", ascii=":", meaning="waiting for a Worker"
    ),
    SpanKind.TRANSFER: Look(
        colour="#009E73", ink="#000", block="▓", ascii=">", meaning="moving data between Modules"
    ),
    SpanKind.MODEL: Look(colour="#0072B2", ink="#fff", block="█", ascii="#", meaning="inference"),
    SpanKind.WAIT: Look(
        colour="#E69F00", ink="#000", block="░", ascii=".", meaning="the Component was busy"
    ),
    SpanKind.PLAYOUT: Look(
        colour="#56B4E9", ink="#000", block="▞", ascii="~", meaning="quiet before the first sound"
    ),
}


def kinds_css() -> str:
    """Rules that colour `.k-{kind}` shapes and swatches and `.i-{kind}` text upon them."""
    return "\n".join(
        f".k-{kind} {{ fill: {look.colour}; background: {look.colour}; }}"
        f" .drawing .i-{kind} {{ fill: {look.ink}; stroke: none; }}"
        for kind, look in LOOKS.items()
    )
