"""The settings of the service, read from the environment once; see docs/reference/settings.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from turnlab.errors import UnsafeSettings
from turnlab.home import home_folder


def _split(value: Any) -> Any:
    """The parts of a list that commas separate."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _origin(url: str) -> str:
    """`url` as an origin without a slash at its end. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write it as https://host or http://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("give scheme, host and port alone, without path or password")
    _ = parts.port  # raises where it is no port
    return f"{parts.scheme}://{parts.netloc}"


def _origin_or_nothing(url: str) -> str:
    return _origin(url) if url else ""


def _origins(urls: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_origin(each) for each in urls)


def _networks(parts: tuple[str, ...]) -> tuple[str, ...]:
    for each in parts:
        ip_network(each)  # raises ValueError, also for *: then everybody could forge an address
    return parts


def _folder(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if "/" in name or "://" in name or " " in name:
            raise ValueError("give names of hosts alone, such as turnlab.example.org")
    return names


EVERYWHERE = ("0.0.0.0", "::")
"""Hosts to listen on that stand for all addresses of the machine."""

Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Origin = Annotated[str, AfterValidator(_origin_or_nothing)]


class Config(BaseModel):
    """Every setting of the service. Its variable is TURNLAB_ and the field's name in capitals.

    Only `database_url` is read from DATABASE_URL, as elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    home: Annotated[Path, AfterValidator(_folder)] = Field(
        default_factory=home_folder,
        description="The folder of records, media, indexes and the secret.",
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="The database, postgresql://… or sqlite:////…; empty: SQLite in TURNLAB_HOME.",
    )
    secret_key: str = Field(
        default="",
        repr=False,
        description="What cookies and media links are signed with, the same for all API "
        "processes of one database; empty: made once and kept in TURNLAB_HOME.",
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on; 0.0.0.0 for all of this machine.",
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="The port to listen on; 0: one that is free."
    )
    public_url: Origin = Field(
        default="",
        description="Where people and clients reach the server, such as "
        "https://turnlab.example.org; https makes cookies secure.",
    )
    node_url: Origin = Field(
        default="",
        description="Where other API processes of the same database reach this one; "
        "empty: http://host:port.",
    )
    admin_user: str = Field(
        default="admin",
        pattern=r"^[\w.@+-]{1,128}$",
        description="The name of the administrator whom the first start makes.",
    )
    admin_password: str = Field(
        default="",
        repr=False,
        description="Their password; empty: one is made and printed once.",
    )
    debug: bool = Field(
        default=False,
        description="Show tracebacks and settings to whoever causes an error; loopback only.",
    )
    allowed_hosts: Annotated[Names, AfterValidator(_hosts)] = Field(
        default=(),
        description="Names, separated by commas, under which the server answers besides "
        "localhost, TURNLAB_HOST and those of TURNLAB_PUBLIC_URL and TURNLAB_NODE_URL.",
    )
    allow_any_host: bool = Field(
        default=False,
        description="Let TURNLAB_ALLOWED_HOSTS be * beyond loopback, where a proxy checks names.",
    )
    trusted_origins: Annotated[Names, AfterValidator(_origins)] = Field(
        default=(),
        description="Origins besides TURNLAB_PUBLIC_URL, separated by commas, whose pages may "
        "post forms to the admin.",
    )
    trusted_proxies: Annotated[Names, AfterValidator(_networks)] = Field(
        default=(),
        description="Addresses or networks of proxies, separated by commas, whose "
        "X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    max_upload_mib: int = Field(
        default=64, ge=1, le=4096, description="The longest request, in MiB."
    )
    max_speech_s: float = Field(
        default=600, ge=1, le=86400, description="The longest recording, in seconds."
    )
    max_running: int = Field(
        default=256, ge=1, le=100_000, description="Tracks under way at once in one process."
    )
    max_pending: int = Field(
        default=10_000, ge=0, le=10_000_000, description="Tracks that wait for room, in all."
    )
    lease_s: float = Field(
        default=15,
        ge=1,
        le=3600,
        description="Seconds of silence after which a worker or an API process counts as lost.",
    )
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="Requests that a token may make a minute, in one process.",
    )
    failures_per_minute: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="Wrong tokens or passwords that an address may send a minute, in one process.",
    )

    @property
    def loopback_url(self) -> str:
        """Where this machine reaches the server."""
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        return f"http://{_in_url(host)}:{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names under which the server answers."""
        urls = (urlsplit(url).hostname for url in (self.public_url, self.node_url))
        own = [host for host in (*urls, self.host) if host and host not in EVERYWHERE]
        named = [*self.allowed_hosts, *map(_in_url, own)]
        return tuple(dict.fromkeys((*named, "localhost", "127.0.0.1", "[::1]")))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def variable(field: str) -> str:
    """The environment variable that a field of Config is read from."""
    return "DATABASE_URL" if field == "database_url" else f"TURNLAB_{field.upper()}"


def read_config(environment: Mapping[str, str]) -> Config:
    """The settings of `environment`; an empty variable counts as not set.

    Raises UnsafeSettings that names each variable and what is wrong with it.
    """
    given = {
        name: environment[variable(name)]
        for name in Config.model_fields
        if environment.get(variable(name), "").strip()
    }
    try:
        return Config(**given)
    except ValidationError as error:
        # No cause: its text has the values, and some of them are secret.
        raise UnsafeSettings(_told(error, given)) from None


@cache
def config() -> Config:
    """The settings of this process, read at the first call. Raises UnsafeSettings."""
    return read_config(os.environ)


def _told(error: ValidationError, given: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(problem["loc"][0]).lower()
        secret = not Config.model_fields[name].repr
        value = "" if secret else f" is {given[name]!r:.100}"
        lines.append(f"{variable(name)}{value}: {problem['msg'].removeprefix('Value error, ')}.")
    return " ".join([*lines, "See docs/reference/settings.md."])
