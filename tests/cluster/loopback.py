"""The same without namespaces: addresses of the loopback, each with an sshd and a home of its own.

They share the machine's processes, ports and /tmp, so `ray stop` there ends only its own.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from hosts import Host, lacking, settle, share
from paths import ROOT

SSHD = """
ListenAddress {address}
HostKey {home}/.ssh/id
AuthorizedKeysFile {home}/.ssh/authorized_keys
ForceCommand {home}/enter
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
"""
ENTER = """#!/bin/bash
export HOME={home}
cd
exec bash -c "$SSH_ORIGINAL_COMMAND"
"""
SSH = """#!/bin/bash
if [ "$1" = -tt ]; then first=(-tt); shift; fi
if [ "$1" = -i ]; then first+=(-i "${{2/#~/$HOME}}"); shift 2; fi
exec {ssh} "${{first[@]}}" "$@"
"""
"""To ssh itself ~ is what the system says, not HOME."""
RAY = """#!{python}
import sys

import psutil
from ray.scripts.scripts import main

if sys.argv[1:2] != ["stop"]:
    sys.exit(main())
ended = []
for process in psutil.process_iter(["cmdline", "environ"]):
    words = " ".join(process.info["cmdline"] or [])
    mine = (process.info["environ"] or {{}}).get("HOME") == "{home}"
    if mine and ("/ray/" in words or "ray::" in words):
        process.terminate()
        ended.append(process)
for process in psutil.wait_procs(ended, timeout=10)[1]:
    process.kill()
"""


class Local(Host):
    """A host that is an address and a home."""

    def __init__(self, address: str, home: Path, shared: str) -> None:
        super().__init__(address, home, shared)
        self.key = str(home / ".ssh" / "id")

    def command(self, line: str) -> list[str]:
        """Return what runs a line of bash there, in the folder of the project."""
        return ["env", f"--chdir={ROOT}", "bash", "-c", line]

    def login(self) -> dict[str, str]:
        """Return the environment of who is logged in there."""
        return super().login() | {"HOME": str(self.home)}

    def all(self) -> list[psutil.Process]:
        """Return what runs there."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def processes(self) -> list[str]:
        """Return the command lines of all processes there."""
        found = []
        for process in self.all():
            with suppress(psutil.Error):
                found.append(" ".join(process.cmdline()))
        return found

    def end(self) -> None:
        """End what is left there."""
        for process in self.all():
            with suppress(psutil.Error):
                process.kill()


def missing() -> str:
    """Return why such hosts cannot be made here; empty if they can."""
    if why := lacking("sshd", "rsync", "curl", "make"):
        return why
    if os.geteuid():
        return "an sshd for these hosts, on port 22, needs root"
    for address, port in (("127.0.0.11", 22), ("127.0.0.1", 5000), ("127.0.0.1", 8265)):
        with socket.socket() as asked, suppress(OSError):
            asked.connect((address, port))
            return f"something listens on port {port} of {address}"
    return ""


@contextmanager
def local_hosts(names: list[str], base: Path) -> Iterator[dict[str, Host]]:
    """Run hosts of these names for a `with` block; they share the folder `base / "shared"`."""
    if why := missing():
        pytest.skip(why)
    share(base)
    Path("/run/sshd").mkdir(exist_ok=True)
    with ExitStack() as stack:
        yield {
            name: _started(stack, base / name, f"127.0.0.{number}", base)
            for number, name in enumerate(names, 11)
        }


def _started(stack: ExitStack, home: Path, address: str, base: Path) -> Local:
    """Make a host's home, and start its sshd."""
    settle(base, home, home, SSHD.format(home=home, address=address))
    there = home / "drmn" / ".venv" / "bin"
    for path, text in ((home / "enter", ENTER), (there / "ray", RAY), (there / "ssh", SSH)):
        path.write_text(text.format(home=home, python=there / "python", ssh=shutil.which("ssh")))
        path.chmod(0o755)
    sshd = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
    with (base / f"{home.name}.log").open("w") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", home / "sshd_config"], stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    host = Local(address, home, str(base / "shared"))
    stack.callback(host.end)
    return host
