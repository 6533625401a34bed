"""Which server is asked and with which key: from a Module's parameters and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

from turnlab.errors import InvalidParams, Missing, MissingKey
from turnlab.openai_api.keys import (
    KEY_VARIABLE,
    KEYS_VARIABLE,
    OPENAI_HOST,
    URL_VARIABLE,
    is_here,
    is_named,
    may_send,
    origin_text,
)
from turnlab.packaged import installed
from turnlab.prices import prices_digest

OPENAI_URL = f"https://{OPENAI_HOST}/v1"

KEY_VARIABLE_TEXT = (
    f"Name of the environment variable that holds the key; None for {KEY_VARIABLE}. It is sent to "
    f"OpenAI and to what {URL_VARIABLE} names, {KEY_VARIABLE} to this machine too, and to another "
    f"server only if {KEYS_VARIABLE} allows it: VARIABLE=ORIGIN, separated by spaces."
)
"""What `key_variable` means, here and for a Realtime server."""


class ProviderParams(BaseModel):
    """The parameters of every Module that asks OpenAI or a server that speaks its API."""

    base_url: str | None = Field(
        None,
        max_length=2048,
        description=f"Where the API is, such as http://127.0.0.1:8000/v1; None for {URL_VARIABLE}, "
        "else OpenAI.",
    )
    key_variable: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        description=KEY_VARIABLE_TEXT,
    )
    api_key: SecretStr | None = Field(
        None,
        description="The key itself, for use from Python: a Cluster file should name a variable.",
    )
    request_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Seconds to wait for the server's next word."
    )
    max_retries: int = Field(
        2, ge=0, le=10, description="How often a request that failed for now is sent again."
    )
    connect_ahead: bool = Field(
        True,
        description="Open the connection while the user speaks, by asking for the list of models.",
    )

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and (problem := _url_problem(value)):
            raise ValueError(problem)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, the key that it is sent, and how long to wait for it; hashable."""

    base_url: str
    key: str | None = field(repr=False)
    """None where none is sent."""
    key_variable: str
    """Where the key came from; without one, the variable to set."""
    request_timeout_s: float
    max_retries: int
    is_named: bool = False
    """Whether it is OpenAI's own, or what OPENAI_BASE_URL names: the environment's OPENAI_ORG_ID,
    OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS are meant for such a one only."""

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, whose list prices apply."""
        return urlsplit(self.base_url).hostname == OPENAI_HOST

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, which no proxy of the environment can reach."""
        return is_here(self.base_url)


def server_of(params: ProviderParams) -> Server:
    """The server that `params` and the environment name. Raises InvalidParams or MissingKey."""
    base_url = params.base_url or os.environ.get(URL_VARIABLE) or OPENAI_URL
    if problem := _url_problem(base_url):
        raise InvalidParams(f"{URL_VARIABLE}: {problem}.")
    server = Server(
        base_url=base_url.rstrip("/"),
        key=_key(params, base_url),
        key_variable="api_key" if params.api_key else params.key_variable or KEY_VARIABLE,
        request_timeout_s=params.request_timeout_s,
        max_retries=params.max_retries,
        is_named=is_named(base_url),
    )
    if server.key is None and params.key_variable:
        raise MissingKey(f"{params.key_variable} is not set; set it to the key for {server.name}.")
    if server.key is None and server.is_openai:
        raise MissingKey(
            f"{KEY_VARIABLE} is not set; set it to your key, or base_url to a server of your own."
        )
    return server


def pinned_provider(params: ProviderParams) -> Mapping[str, str]:
    """What a Run with these parameters depends on beside them; see `pinned_server`."""
    return pinned_server(server_of(params))


def pinned_server(server: Server) -> Mapping[str, str]:
    """The address that is asked, which holds no user name, and the digest of the prices."""
    return {"server": server.base_url, "prices": prices_digest()}


def missing_provider(params: ProviderParams) -> list[str]:
    """What must be installed or set before `params` can be used here; imports no SDK."""
    missing: list[str] = []
    if not installed("openai"):
        missing.append("The OpenAI SDK is not installed: pip install 'turnlab[openai]'.")
    try:
        server_of(params)
    except (InvalidParams, MissingKey) as error:
        missing.append(Missing(error.message, type(error)))
    return missing


def _key(params: ProviderParams, base_url: str) -> str | None:
    """The key for `base_url`, if the environment lets it go there.

    Raises MissingKey where a variable was named and may not, whether it is set or not.
    """
    if params.api_key is not None:
        return _sendable(params.api_key.get_secret_value(), "api_key")
    variable = params.key_variable or KEY_VARIABLE
    if may_send(variable, base_url):
        return _sendable(os.environ.get(variable, ""), variable)
    if params.key_variable is None:
        return None
    origin = origin_text(base_url)
    raise MissingKey(
        f"The key in {variable} may not be sent to {origin}; if that server is yours, add "
        f"{variable}={origin} to {KEYS_VARIABLE}."
    )


def _sendable(key: str, name: str) -> str | None:
    """The key without the white space around it; None if there is none. Raises InvalidParams."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidParams(
            f"{name} holds what no key does, such as a line break or a letter that is not ASCII; "
            "set it anew."
        )
    return key or None


def _url_problem(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        port_given = parts.port is None or parts.port > 0
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_given:
        return "must be a URL such as https://api.openai.com/v1"
    if parts.hostname == OPENAI_HOST and parts.scheme != "https":
        return "must be https for OpenAI"
    if parts.username or parts.password:
        return "must hold no user name and no password; name the key's variable in key_variable"
    if parts.query or parts.fragment:
        return "must hold no query and no fragment"
    return None
