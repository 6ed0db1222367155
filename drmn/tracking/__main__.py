"""MLflow's server, and the shipper of a spool.

python -m drmn.tracking serve          open the UI on this machine
python -m drmn.tracking ship SPOOL     started by jobs: ship until standard input closes
"""

import argparse
import os
import select
import sqlite3
import sys
from pathlib import Path

from drmn.collector import collect_rarely
from drmn.encoding import print_in_any_encoding
from drmn.errors import ConfigError, UserError
from drmn.flags import expand_home
from drmn.tracking.server import Server
from drmn.tracking.shipper import ship
from drmn.tracking.spool import Spool
from drmn.tracking.uri import absolute, default_store


def main() -> None:
    """Run the command of the command line."""
    print_in_any_encoding()
    collect_rarely()
    asked = _parser().parse_args([expand_home(each) for each in sys.argv[1:]])
    try:
        {"serve": _serve, "ship": _ship}[asked.command](asked)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drmn.tracking", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    parts = {name: commands.add_parser(name) for name in ("serve", "ship")}
    for part in parts.values():
        part.add_argument(
            "--uri", default=default_store(), help="MLflow's store; by default that of here"
        )
    parts["ship"].add_argument("spool", type=Path)
    serve = parts["serve"]
    serve.add_argument("--experiment", default="", help="a dataset's name: print its address")
    serve.add_argument("--host", default="127.0.0.1", help="another one needs --auth")
    serve.add_argument("--port", type=int, default=5000)
    serve.add_argument("--artifacts", default="", help="folder or s3:// place of models' files")
    serve.add_argument("--auth", action="store_true", help="ask for a password")
    users = "names and hashed passwords, made at the first start"
    serve.add_argument("--users", type=Path, default=Path("mlflow-users.db"), help=users)
    serve.add_argument("--allowed-hosts", default="", help="names it is reached by, with commas")
    return parser


def _ship(asked: argparse.Namespace) -> None:
    if not asked.spool.is_file():
        raise ConfigError(f"no spool {asked.spool}; a study's is results/studies/NAME/spool.db.")
    try:
        spool = Spool(asked.spool)
    except sqlite3.DatabaseError as problem:
        raise ConfigError(f"{asked.spool}: not a spool ({problem}).") from None
    ship(spool, absolute(asked.uri), closed=_input_closed)


def _input_closed() -> bool:
    """Return whether the driver has closed our standard input, or is gone."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _serve(asked: argparse.Namespace) -> None:
    server = Server(
        uri=absolute(asked.uri),
        host=asked.host,
        port=asked.port,
        artifacts=asked.artifacts,
        auth=asked.auth,
        users=asked.users,
        allowed_hosts=asked.allowed_hosts,
    )
    from drmn.tracking import saved_view  # noqa: PLC0415 - MLflow takes seconds to import

    address = saved_view.view_address(
        server.uri, f"http://{asked.host}:{asked.port}", asked.experiment
    )
    print(f"MLflow will be at {address}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
