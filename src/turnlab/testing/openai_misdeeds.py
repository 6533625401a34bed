"""How a test server that speaks OpenAI's wire format may misbehave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refuse:
    """Answer with an error of OpenAI's form."""

    status: int
    message: str = "No."
    code: str = "refused"


@dataclass(frozen=True)
class Hang:
    """Say nothing (more) after so many pieces, with the connection open."""

    pieces: int = 0


@dataclass(frozen=True)
class Half:
    """Close the connection after so many pieces; `framed` says that the client can tell."""

    pieces: int = 1
    framed: bool = True


@dataclass(frozen=True)
class Send:
    """Answer with these bytes, whatever was asked."""

    body: bytes
    content_type: str = "text/html"
    status: int = 200


@dataclass(frozen=True)
class Redirect:
    """Point to another address (307)."""

    location: str


Misdeed = Refuse | Redirect | Hang | Half | Send
