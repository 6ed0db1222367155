"""MLflow's store as a job finds it at its start: an address that cannot work, a store that is away.

Without MLflow's own client, which takes seconds to import.
"""

import base64
import json
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from drmn.errors import ConfigError
from drmn.tracking.uri import SERVER, SQLITE, absolute, require_store

TIMEOUT_S = 10.0
"""Seconds of each wait for a server."""
LIMIT_S = 25.0
"""Seconds of all waits: names that are not found, several addresses, answers that trickle."""
_FIRST = "/api/2.0/mlflow/experiments/search"
"""A request that asks for credentials, where a server has any."""


def require_client(tracking_uri: str) -> None:
    """Raise `ConfigError` unless a client of the store can be made, whether that answers or not."""
    require_store(tracking_uri)
    uri = absolute(tracking_uri)
    if uri.startswith(SERVER):
        return
    if uri.startswith(SQLITE):
        if (file := Path(uri.removeprefix(SQLITE))).is_dir():
            raise ConfigError(f"--tracking-uri {tracking_uri}: {file} is a folder; give a file.")
        return
    import sqlalchemy  # noqa: PLC0415 - half a second, which a server's address does not need

    try:
        sqlalchemy.make_url(uri).get_dialect().import_dbapi()
    except (ImportError, sqlalchemy.exc.SQLAlchemyError) as problem:
        raise ConfigError(
            f"--tracking-uri {tracking_uri}: no client of it can be made "
            f"({str(problem).splitlines()[0]}); install its driver (pip install -e '.[postgres]' "
            "has PostgreSQL's), or give the address of a server."
        ) from None


def store_problem(tracking_uri: str) -> str:
    """Return why MLflow's store takes nothing now, within half a minute; empty if it does."""
    uri = absolute(tracking_uri)
    check = _of_server if uri.startswith(SERVER) else _of_database
    return _within(LIMIT_S, lambda: check(uri))


def _within(seconds: float, check: Callable[[], str]) -> str:
    """Return a check's result; what takes longer goes on in a thread that no exit waits for."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(check()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"it does not answer (within {seconds:g} s)"


def _of_database(uri: str) -> str:
    from drmn.tracking.schema import schema_problem  # noqa: PLC0415 - SQLAlchemy
    from drmn.tracking.store_problem import explain  # noqa: PLC0415

    try:
        return schema_problem(uri)
    except Exception as problem:  # noqa: BLE001 - drivers raise all kinds
        return explain(problem).text


def _of_server(uri: str) -> str:
    from drmn.tracking.store_problem import away, refusal  # noqa: PLC0415 - SQLAlchemy

    request = urllib.request.Request(  # noqa: S310 - http or https
        uri.rstrip("/") + _FIRST,
        json.dumps({"max_results": 1}).encode(),
        {"Content-Type": "application/json", **_credentials()},
    )
    try:
        with urllib.request.urlopen(  # noqa: S310
            request, timeout=TIMEOUT_S, context=_tls()
        ) as answer:
            json.loads(answer.read())
    except urllib.error.HTTPError as problem:
        if problem.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            known = Path("~/.mlflow/credentials").expanduser().exists()  # MLflow's client reads it
            return "" if known else refusal(problem.code, problem.read(1000).decode()).text
        return f"it answers HTTP {problem.code} ({problem.reason})"
    except ValueError:
        return "it is no server of MLflow: its answer is no JSON"
    except OSError as problem:
        return away(str(getattr(problem, "reason", problem))).text
    return ""


def _credentials() -> dict[str, str]:
    """Return the header of the credentials in the environment, as MLflow's client makes it."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if not (user and password):
        return {}
    plain = f"{user}:{password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(plain).decode()}"}


def _tls() -> ssl.SSLContext:
    """Return how a server's certificate is checked, as MLflow's client does."""
    context = ssl.create_default_context(
        cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
    )
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
