"""`turnlab serve`: the API end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from turnlab.cli.problems import tell_problems
from turnlab.cli.session import ClusterFolders, ModuleFolders, find_parts
from turnlab.clusters.plan import make_plan
from turnlab.errors import MissingPackage, TurnlabError
from turnlab.packaged import installed

NEEDED = ("django", "ninja", "uvicorn", "websockets", "httpx2", "prometheus_client")

_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)
"""In use, or for root alone; else there is no such address here."""


class CannotListen(TurnlabError):
    """The address cannot be listened on; choose another --host or --port."""

    code = "cannot_listen"


def serve(
    host: Annotated[str | None, typer.Option(help="Listen here. Also TURNLAB_HOST.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0: one that is free. Also TURNLAB_PORT."),
    ] = None,
    embedded: Annotated[
        bool,
        typer.Option("--embedded/--no-embedded", help="Run Modules in this process, too."),
    ] = True,
    warm: Annotated[
        list[str] | None,
        typer.Option(
            "--warm", metavar="CLUSTER", help="Load what it needs before serving; repeatable."
        ),
    ] = None,
    clusters: ClusterFolders = None,
    modules: ModuleFolders = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where other API processes reach this one. Also TURNLAB_NODE_URL."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every request.")] = False,
) -> None:
    """Serve Clusters over HTTP: REST, OpenAI-compatible endpoints, admin, workers.

    The first start makes the database and an administrator, and says what to do next.
    """
    _require_packages()
    os.environ.update(
        {
            name: str(value)
            for name, value in (
                ("TURNLAB_HOST", host),
                ("TURNLAB_PORT", port),
                ("TURNLAB_NODE_URL", url),
            )
            if value is not None
        }
    )
    from turnlab.server.config import config, read_config
    from turnlab.server.logs import set_up_logs
    from turnlab.server.safety import check_safety
    from turnlab.server.setup import open_database

    set_up_logs(verbose)
    asked = read_config(os.environ)
    warnings = check_safety(asked)
    listening = _listen(asked.host, asked.port)
    # With port 0 it is known only now.
    os.environ["TURNLAB_PORT"] = str(listening.getsockname()[1])
    settings = config()
    parts = find_parts(clusters, modules)
    tell_problems(parts)
    plans = [make_plan(parts.catalogue.get(name), parts.registry) for name in warm or ()]
    open_database(service=True)
    from turnlab.server.first_start import first_start

    console = Console(stderr=True, highlight=False)
    told = [*warnings, *first_start(settings.public_url or settings.loopback_url)]
    told.append(f"Turnlab serves at {settings.public_url or settings.loopback_url} (Ctrl-C ends)")
    for line in told:
        console.print(line, soft_wrap=True, markup=False)
    url = settings.node_url or settings.loopback_url
    _run(parts, settings, listening, {"embedded": embedded, "url": url, "warm": plans}, verbose)


def _require_packages() -> None:
    absent = [name for name in NEEDED if not installed(name)]
    if absent:
        raise MissingPackage(f"{', '.join(absent)} not installed: pip install 'turnlab[server]'.")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything is made that would need it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY); else each waits
    # some 40 ms for the client's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        option = "--port" if error.errno in _OF_THE_PORT else "--host"
        raise CannotListen(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another {option}."
        ) from error
    listening.set_inheritable(True)
    return listening


def _run(
    parts: Any,
    settings: Any,
    listening: socket.socket,
    options: Mapping[str, Any],
    verbose: bool,
) -> None:
    import uvicorn

    from turnlab.server.asgi import Application
    from turnlab.server.connections import MOST, TimelyProtocol

    application = Application(parts.registry, parts.catalogue, settings, **options)
    config = uvicorn.Config(
        application,
        lifespan="on",
        http=TimelyProtocol,
        limit_concurrency=MOST,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=5 * 2**20,
        access_log=verbose,
        log_level="info" if verbose else "warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=5,
    )

    class Server(uvicorn.Server):
        """Lets Tracks under way end before it closes the connections of their workers."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            if application.draining:
                super().handle_exit(sig, frame)
            else:
                application.drain(lambda: super(Server, self).handle_exit(sig, frame))

    Server(config).run(sockets=[listening])
