"""Hosts of their own on one machine: namespaces that a bridge joins, each with an sshd.

A host has its own network, processes, /tmp, /dev/shm and home. The pid namespace matters: `ray up`
begins with `ray stop`, which ends every Ray process that it can see.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from paths import ROOT

SHARED = "/mnt/drmn"
"""Where each host has the folder that all share."""
HOME = Path.home()
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
SSHD = """
HostKey {home}/.ssh/id
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""
INIT = """
set -e
mount --make-rprivate /
hostname {name}
for path in {seen}; do
    mkdir -p "{tree}$path"
    mount --rbind "$path" "{tree}$path"
done
mount -t tmpfs tmpfs /mnt
mkdir {shared_at}
mount --bind {shared} {shared_at}
mount --rbind {tree}{home} {home}
mount --rbind {tree}/tmp /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
mkdir /run/sshd
exec {sshd} -D -e -f {home}/sshd_config
"""


class Host:
    """A host at work."""

    key = "~/.ssh/id"
    """For SSH to the others."""

    def __init__(self, address: str, home: Path, shared: str) -> None:
        self.address, self.home, self.shared = address, home, shared

    def run(self, line: str, *, check: bool = True, seconds: float = 300) -> str:
        """Run a line of bash as who is logged in there; return what it prints."""
        done = subprocess.run(
            self.command(line),
            env=self.login(),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 or not check, said[-6000:]
        return said

    @contextmanager
    def at_work(self, line: str) -> Iterator[None]:
        """Have a line of bash run for a `with` block."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        noted = self.command(f"echo $$ > ~/at_work; exec {line}")
        with subprocess.Popen(noted, env=self.login(), **quiet):
            yield
            # A signal to nsenter would end nsenter alone. It may have come to its end by itself.
            self.run("kill $(cat ~/at_work) 2> /dev/null; true")

    def command(self, line: str) -> list[str]:
        """Return what runs a line of bash there, in the folder of the project."""
        raise NotImplementedError

    def login(self) -> dict[str, str]:
        """Return the environment of who is logged in there."""
        path = [Path(sys.executable).parent, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin"]
        path += ["/usr/bin", "/sbin", "/bin"]
        here = {"HOME": str(HOME), "USER": "root", "LANG": "C.UTF-8"}
        return here | {"PATH": ":".join(map(str, path))}

    def processes(self) -> list[str]:
        """Return the command lines of all processes there."""
        raise NotImplementedError


class Isolated(Host):
    """A host with namespaces of its own; `pid` is its first process."""

    def __init__(self, address: str, home: Path, pid: int, port: tuple[int, str]) -> None:
        super().__init__(address, home, SHARED)
        self.pid, self.port = pid, port

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Lose all that goes to or from the host for a `with` block; nobody is told."""
        switch, port = self.port
        _ip(switch, f"link set {port} nomaster")
        yield
        _ip(switch, f"link set {port} master br0")

    def command(self, line: str) -> list[str]:
        """Return what runs a line of bash there, in the folder of the project."""
        return ["nsenter", f"--target={self.pid}", "--all", f"--wd={ROOT}", "bash", "-c", line]

    def processes(self) -> list[str]:
        """Return the command lines of all processes there."""
        listed = self.run("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; true")
        return listed.splitlines()


def lacking(*programs: str) -> str:
    """Return which program is not installed; empty if all are."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacks = [program for program in programs if shutil.which(program, path=path) is None]
    return f"no {lacks[0]} here" if lacks else ""


def missing() -> str:
    """Return why hosts cannot be made here; empty if they can."""
    if why := lacking("sshd", "rsync", "nsenter", "ip", "curl", "make"):
        return why
    if os.geteuid():
        return "namespaces with addresses of their own need root"
    tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False)
    return "namespaces are not allowed here" if tried.returncode else ""


def share(base: Path) -> None:
    """Make what all hosts have in common: a folder, and a key that each lets in."""
    (base / "shared").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / "id"], check=True)


def settle(base: Path, home: Path, seen: Path, sshd: str) -> None:
    """Make a host's home, which it itself sees as `seen`, with the key, and its sshd's settings."""
    (home / ".ssh").mkdir(parents=True)
    shutil.copy(base / "id", home / ".ssh" / "id")
    shutil.copy(base / "id.pub", home / ".ssh" / "authorized_keys")
    (home / "sshd_config").write_text(sshd)
    # How long a machine waits for a head that is gone until it ends; 60 by default.
    (home / ".bashrc").write_text("export RAY_gcs_rpc_server_reconnect_timeout_s=10\n")
    _environment(home, seen)


@contextmanager
def hosts(names: list[str], base: Path) -> Iterator[dict[str, Isolated]]:
    """Run hosts of these names for a `with` block; they share the folder `base / "shared"`."""
    if why := missing():
        pytest.skip(why)
    share(base)
    with ExitStack() as stack:
        switch = _started(
            stack, ["unshare", "--net", "--fork", "--kill-child", "sleep", "infinity"]
        )
        _ip(switch, "link add br0 type bridge")
        _ip(switch, "link set br0 up")
        made = {}
        for number, name in enumerate(names, 1):
            init = base / f"{name}.sh"
            init.write_text(_init(base, name))
            with (base / f"{name}.log").open("w") as log:
                pid = _started(stack, [*UNSHARE, "bash", str(init)], log)
            address = f"198.51.100.{number}"
            _ip(switch, f"link add p{number} type veth peer name eth0 netns {pid}")
            _ip(switch, f"link set p{number} master br0 up")
            for words in ("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up"):
                _ip(pid, words)
            home = Path(f"{base / name}{HOME}")
            made[name] = Isolated(address, home, pid, (switch, f"p{number}"))
        yield made


def _ip(pid: int, words: str) -> None:
    subprocess.run(["nsenter", "--target", str(pid), "--net", "ip", *words.split()], check=True)


def _started(stack: ExitStack, command: list[str], log: object = None) -> int:
    """Start a namespace's first process; return its id. With it ends all that is in there."""
    outer = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
    stack.callback(outer.kill)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    for _ in range(100):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    return pytest.fail(f"{command} did not start")


def _init(base: Path, name: str) -> str:
    """Make a host's own files; return what its first process is to do."""
    tree = base / name
    home = Path(f"{tree}{HOME}")
    settle(base, home, HOME, SSHD.format(home=HOME))
    (tree / "tmp").mkdir(exist_ok=True)
    hidden = [p for p in _needed() if p.is_relative_to(HOME) or p.is_relative_to("/tmp")]  # noqa: S108
    return INIT.format(
        name=name,
        tree=tree,
        home=HOME,
        seen=" ".join(f"'{path}'" for path in hidden),
        shared=base / "shared",
        shared_at=SHARED,
        sshd=shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin"),
    )


def _needed() -> set[Path]:
    """Return what a host borrows of this machine: Python, what is installed, the project."""
    return {Path(sys.prefix), Path(sys.base_prefix).resolve(), ROOT}


def _environment(home: Path, seen: Path) -> None:
    """Put in place what `make setup` would install: there is no network to install from.

    Packages are those of these tests; the project is the host's own copy, which `ray up` brings.
    The host itself sees its home as `seen`.
    """
    place = home / "drmn" / ".venv"
    venv.create(place, symlinks=True)
    packages = next(place.glob("lib/python*/site-packages"))
    own, borrowed = seen / "drmn", sysconfig.get_path("purelib")
    (packages / "host.pth").write_text(f"{own}\n{borrowed}\n")
    ray = place / "bin" / "ray"
    ray.write_text(
        f"#!{own}/.venv/bin/python\nimport sys\nfrom ray.scripts.scripts import main\n"
        "sys.exit(main())\n"
    )
    ray.chmod(0o755)
    (place / "ready").touch()
