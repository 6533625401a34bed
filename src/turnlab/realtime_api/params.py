"""Which Realtime server is asked, and with which key."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr, field_validator

from turnlab.errors import InvalidParams, Missing, MissingKey, MissingModel
from turnlab.openai_api.params import KEY_VARIABLE_TEXT, ProviderParams, Server, server_of
from turnlab.packaged import installed

_INSTALL = "websockets is not installed: pip install 'turnlab[realtime]'."

_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


class RealtimeParams(BaseModel):
    """The parameters of every Module that asks a Realtime server."""

    base_url: str | None = Field(
        None,
        max_length=2048,
        description="Where the API is, such as ws://127.0.0.1:8000/v1; None for OPENAI_BASE_URL, "
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
    connect_timeout_s: float = Field(
        10.0, gt=0, le=3600, description="Seconds to wait for the connection."
    )
    request_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Seconds to wait for the server's next word."
    )

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            ProviderParams(base_url=_http(value))
        return value


def realtime_server(params: RealtimeParams) -> Server:
    """The server that `params` and the environment name. Raises InvalidParams or MissingKey."""
    return server_of(
        ProviderParams(
            base_url=None if params.base_url is None else _http(params.base_url),
            key_variable=params.key_variable,
            api_key=params.api_key,
            request_timeout_s=params.request_timeout_s,
        )
    )


def missing_realtime(params: RealtimeParams) -> list[str]:
    """What must be installed or set before `params` can be used here; imports no library."""
    missing: list[str] = []
    if not installed("websockets"):
        missing.append(_INSTALL)
    try:
        realtime_server(params)
    except (InvalidParams, MissingKey) as error:
        missing.append(Missing(error.message, type(error)))
    return missing


def require_websockets() -> None:
    """Import the library. Raises MissingModel."""
    try:
        import websockets.asyncio.client  # noqa: F401
    except ImportError as error:
        raise MissingModel(_INSTALL) from error


def _http(base_url: str) -> str:
    """The same address in the scheme that the rules for addresses and keys know."""
    scheme, separator, rest = base_url.partition("://")
    if scheme not in _SCHEMES or not separator:
        raise ValueError("must be a URL such as ws://127.0.0.1:8000/v1")
    return f"{_SCHEMES[scheme]}://{rest}"
