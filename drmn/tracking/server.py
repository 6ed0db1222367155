"""MLflow's server, started safely: reachable from this machine alone, or with passwords."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drmn.errors import ConfigError
from drmn.tracking.uri import SQLITE, artifact_folder

LOCAL = ("127.0.0.1", "localhost", "::1")
SECRETS = ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
"""Variables that a server with passwords needs; MLflow reads them itself."""
WORKERS = "2"
"""Processes of the server: their connections together are fewer than PostgreSQL's usual 100."""
SAFE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # half a gigabyte, and ways in
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # our models need none
    # With 15 connections, the default, calls of two dozen trials fail.
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "20",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Settings of MLflow's server.

    Raises:
        ConfigError: Others could reach it without a password; or it has nowhere to keep files.
    """

    uri: str
    """URI of the database: a SQLite file or PostgreSQL."""
    host: str = "127.0.0.1"
    port: int = 5000
    artifacts: str = ""
    """Where files are kept: a folder or s3://…; by default beside a SQLite file. Clients send them
    through the server and need no right to that place."""
    auth: bool = False
    """Ask for a name and a password: "admin" and that of the environment, at first."""
    users: Path = Path("mlflow-users.db")
    """Names and passwords, hashed; made at the first start."""
    allowed_hosts: str = ""
    """Names that it is reached by, such as mlflow.example.org, with commas."""

    def __post_init__(self) -> None:
        """Check each value."""
        if self.uri.startswith(("http://", "https://")):
            raise ConfigError(f"--uri {self.uri}: that is a server already; open it in a browser.")
        if self.uri.startswith(SQLITE) and not Path(self.uri.removeprefix(SQLITE)).is_file():
            raise ConfigError(f"--uri {self.uri}: no such database; jobs/tune.py makes one.")
        if self.host not in LOCAL and not self.auth:
            raise ConfigError(
                f"--host {self.host}: whoever reaches it could change all of it; add --auth, or "
                "leave --host out and use an SSH tunnel."
            )
        if missing := [name for name in SECRETS if self.auth and not os.environ.get(name)]:
            raise ConfigError(f"--auth needs {' and '.join(missing)} in the environment.")
        if not self.place:
            raise ConfigError("--artifacts is missing: a folder or s3:// place for models' files.")

    @property
    def place(self) -> str:
        """Where files are kept."""
        return self.artifacts or artifact_folder(self.uri)

    def command(self) -> list[str]:
        """Return the command that starts the server."""
        command = [sys.executable, "-m", "mlflow", "server"]
        command += ["--host", self.host, "--port", str(self.port), "--workers", WORKERS]
        command += ["--artifacts-destination", self.place]
        if self.auth:
            command += ["--app-name", "basic-auth"]
        if self.allowed_hosts:
            command += ["--allowed-hosts", self.allowed_hosts]
        return command

    def environment(self) -> Mapping[str, str]:
        """Return the server's added variables; among them the URI, which may hold a password."""
        found = SAFE | {"MLFLOW_BACKEND_STORE_URI": self.uri}
        return found | ({"MLFLOW_AUTH_CONFIG_PATH": str(self._settings)} if self.auth else {})

    @property
    def _settings(self) -> Path:
        return self.users.absolute().with_suffix(".ini")

    def serve(self) -> None:
        """Replace this process by the server; its files are for this user alone."""
        os.umask(0o077)
        if self.auth:
            users = f"database_uri = {SQLITE}{self.users.absolute()}"
            self._settings.write_text(
                f"[mlflow]\ndefault_permission = READ\n{users}\nadmin_username = admin\n"
            )
        os.environ |= self.environment()
        os.execv(sys.executable, self.command())  # noqa: S606
