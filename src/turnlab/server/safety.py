"""Refuses settings that would not be safe together, before anything listens."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from stat import S_IMODE
from urllib.parse import urlsplit

from turnlab.errors import UnsafeSettings
from turnlab.server.config import EVERYWHERE, Config
from turnlab.server.secret import SECRET_FILE

SHORTEST_SECRET = 32
"""Characters of TURNLAB_SECRET_KEY; 32 random ones of base64 are 192 bits."""

_FEWEST_DIFFERENT = 10
_KNOWN = (
    "django-insecure",
    "changeme",
    "change-me",
    "secret-key",
    "password",
    "example",
    "default",
)

_OTHERS_WRITE, _OTHERS, _GROUP = 0o002, 0o007, 0o070


def check_safety(config: Config) -> list[str]:
    """What is not as it should be although one may serve so, a line each; empty: nothing.

    Raises UnsafeSettings that says which setting to change.
    """
    if refused := [*_dangers(config), *_open_files(config)]:
        raise UnsafeSettings(" ".join(refused))
    return [*_weak_secret(config), *_warnings(config)]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_published(config: Config) -> bool:
    """Whether other machines reach the server: by its own address, or through a proxy."""
    public = urlsplit(config.public_url).hostname or ""
    return not is_loopback(config.host) or bool(public and not is_loopback(public))


def _dangers(config: Config) -> list[str]:
    if not is_published(config):
        return []
    found = _weak_secret(config)
    if config.debug:
        found.append(
            "TURNLAB_DEBUG shows settings and code to everybody who reaches the server: unset it, "
            "or serve on 127.0.0.1 without TURNLAB_PUBLIC_URL."
        )
    if "*" in config.allowed_hosts and not config.allow_any_host:
        found.append(
            "TURNLAB_ALLOWED_HOSTS is *, so that any web page could pose as this server: list its "
            "names, or set TURNLAB_ALLOW_ANY_HOST=1 where a proxy in front checks them."
        )
    return found


def _weak_secret(config: Config) -> list[str]:
    key = config.secret_key
    known = any(each in key.lower() for each in _KNOWN)
    if not key or (
        len(key) >= SHORTEST_SECRET and len(set(key)) >= _FEWEST_DIFFERENT and not known
    ):
        return []
    return [
        f"TURNLAB_SECRET_KEY can be guessed: give at least {SHORTEST_SECRET} random characters, "
        "or unset it, and one is made."
    ]


def _open_files(config: Config) -> list[str]:
    """What others on this machine could read or exchange."""
    found = []
    home, secret = _mode(config.home), _mode(config.home / SECRET_FILE)
    if home & (_OTHERS if is_published(config) else _OTHERS_WRITE):
        found.append(f"Others on this machine can enter {config.home}: chmod 700 {config.home}.")
    if secret & _OTHERS:
        path = config.home / SECRET_FILE
        found.append(
            f"Others on this machine can read {path}: remove it, so that a new one is made, since "
            "they may have; people then sign in again."
        )
    return found


def _mode(path: Path) -> int:
    """The permissions; 0 where there is nothing yet."""
    try:
        return S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0


def _warnings(config: Config) -> list[str]:
    found = []
    if _mode(config.home) & _OTHERS:
        found.append(f"Others on this machine can enter {config.home}: chmod 700 {config.home}.")
    if _mode(config.home / SECRET_FILE) & _GROUP:
        found.append(f"A group can read {config.home / SECRET_FILE}; chmod 600, if it is not you.")
    if not is_published(config):
        return found
    if not config.public_url.startswith("https://"):
        found.append(
            "Tokens, passwords and voices go over the network in plain HTTP: put a proxy with TLS "
            "in front and set TURNLAB_PUBLIC_URL=https://… (docs/how-to/secure-a-server.md)."
        )
    if config.host in EVERYWHERE and not (config.public_url or config.allowed_hosts):
        found.append(
            "Other machines are answered 400, since no name of this server is known: set "
            "TURNLAB_PUBLIC_URL or TURNLAB_ALLOWED_HOSTS."
        )
    if config.public_url and is_loopback(config.host) and not config.trusted_proxies:
        found.append(
            "Every client looks like the proxy itself, so that limits by address count for all at "
            "once: set TURNLAB_TRUSTED_PROXIES to its address, such as 127.0.0.1."
        )
    return found
