"""Look after MLflow: ship what waits in a spool, or open the UI.

python -m drmn.tracking ship SPOOL --uri URI     ship until standard input closes
python -m drmn.tracking sync SPOOL --uri URI     ship all again: MLflow's database was lost
python -m drmn.tracking serve --uri URI          open the UI
"""

import argparse
import os
import select
import sqlite3
import sys
from pathlib import Path

from drmn.tracking.ship import SQLITE, absolute, artifact_folder, ship
from drmn.tracking.spool import Spool


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m drmn.tracking", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("ship", "sync"):
        command = commands.add_parser(name)
        command.add_argument("spool", type=Path)
        command.add_argument("--uri", default="sqlite:///mlflow.db")
    serve = commands.add_parser("serve")
    serve.add_argument("--uri", default="sqlite:///mlflow.db")
    serve.add_argument("--port", type=int, default=5000)
    serve.add_argument("--experiment", default="", help="a dataset's name: print its address")
    asked = parser.parse_args()
    if asked.command == "serve":
        _serve(absolute(asked.uri), asked.port, asked.experiment)
    _ship(asked.spool, absolute(asked.uri), again=asked.command == "sync")


def _ship(path: Path, uri: str, *, again: bool) -> None:
    if not path.is_file():
        sys.exit(f"error: no spool {path}; a study's is results/studies/<study>/spool.db")
    try:
        spool = Spool(path)
    except sqlite3.DatabaseError as problem:
        sys.exit(f"error: {path}: not a spool ({problem}).")
    if again:
        spool.again()
    ship(spool, uri, closed=(lambda: True) if again else _input_closed)
    if again:
        print(f"MLflow at {uri} has all that {path} held.")


def _input_closed() -> bool:
    """Return whether the driver has closed our standard input, or is gone."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _serve(uri: str, port: int, experiment: str) -> None:
    path = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not path.is_file():
        sys.exit(f"error: --uri {uri}: no such database; jobs/tune.py makes one.")
    print(f"MLflow will be at {_address(uri, port, experiment)}", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if folder := artifact_folder(uri):
        command += ["--default-artifact-root", folder]
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    os.execv(sys.executable, command)  # noqa: S606


def _address(uri: str, port: int, experiment: str) -> str:
    from mlflow import MlflowClient  # noqa: PLC0415 - MLflow takes seconds to import

    from drmn.tracking import view  # noqa: PLC0415

    try:
        every = MlflowClient(uri).search_experiments()
    except Exception as problem:  # noqa: BLE001 - the store may be anything
        sys.exit(f"error: --uri {uri}: not a store of MLflow ({type(problem).__name__}).")
    found = [e for e in every if e.name == experiment] if experiment else every[:1]
    if not found:
        have = ", ".join(e.name for e in every)
        sys.exit(f"error: --experiment {experiment}: there is none of that name; have {have}.")
    return view.link(found[0].experiment_id, port)


if __name__ == "__main__":
    main()
