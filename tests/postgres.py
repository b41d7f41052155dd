"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, gone afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "tester", "s3cret/pw@x y"
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: float(place.parent.name), reverse=True)
OTHER_USERS = ("postgres", "nobody")
"""Whom root runs the server as, which refuses root."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    uri: str
    port: int

    def execute(self, *statements: str) -> None:
        """Execute statements that write."""
        psql = [
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            "-d",
            "postgres",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
        ]
        words = [word for statement in statements for word in ("-c", statement)]
        _run([_program("psql"), *psql[1:], *words], env=os.environ | {"PGPASSWORD": PASSWORD})


@contextmanager
def running() -> Iterator[Server]:
    """Start a server; skip the test that asks where none is installed."""
    if _program("initdb") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    prefix = _as_another_user()
    folder = Path(tempfile.mkdtemp(prefix="curriculum-rec-postgres-", dir="/tmp"))
    try:
        (folder / "password").write_text(PASSWORD)
        if prefix:
            for place in (folder, folder / "password"):
                shutil.chown(place, prefix[2])
        options = [
            "-U",
            USER,
            "--auth=scram-sha-256",
            f"--pwfile={folder}/password",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        _run([*prefix, _program("initdb"), "-D", f"{folder}/data", *options])
        port = _free_port()
        server = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = [*prefix, _program("pg_ctl"), "-D", f"{folder}/data"]
        _run([*control, "-w", "-l", f"{folder}/log", "-o", server, "start"])
        try:
            yield Server(f"postgresql://{USER}@127.0.0.1:{port}/postgres", port)
        finally:
            _run([*control, "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """Find a program, where Debian puts it or on the path."""
    return next((str(place / name) for place in PLACES if (place / name).exists()), shutil.which(name))


def _as_another_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    known = subprocess.run(["getent", "passwd", *OTHER_USERS], capture_output=True, text=True, check=False).stdout
    user = next((name for name in OTHER_USERS if f"{name}:" in known), None)
    if user is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL refuses root, and there is no other user to run it as")
    return ["runuser", "-u", user, "--"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _run(words: list[str | None], env: dict[str, str] | None = None) -> None:
    # A server must not hold the pipes of its starter, or the starter would wait for its end.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/", env=env, check=False)
        said.seek(0)
        assert done.returncode == 0, f"{words[-1]}: {said.read().decode(errors='replace')}"
