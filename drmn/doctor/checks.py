"""From the facts of machines to findings about them."""

from collections.abc import Callable, Iterator, Mapping

from drmn.doctor.finding import Finding
from drmn.doctor.machine import Facts

OLDEST = (3, 11)
"""The oldest Python that is supported."""
SKEW = 2.0
"""Seconds that clocks may differ: times of trials and tokens are compared."""


def machine(facts: Facts, least: int, where: str = "") -> Iterator[Finding]:
    """Yield the findings about one machine.

    Args:
        facts: Its facts.
        least: Bytes that should be free.
        where: The machine's name, if there are several.
    """
    at = f" of {where}" if where else ""
    old = tuple(map(int, facts.python.split(".")[:2])) < OLDEST
    yield Finding(
        name=f"python{at}",
        found=facts.python,
        remedy="install Python 3.11 or newer and run `make setup` again" if old else "",
    )
    yield Finding(name=f"torch{at}", found=_torch(facts), remedy=_torch_remedy(facts))
    yield Finding(
        name=f"disk{at}",
        found=f"{facts.free / 1e9:.0f} GB free",
        remedy=""
        if facts.free >= least
        else f"make room for {least / 1e9:.0f} GB (jobs/prepare.py --prune), or set --least-gb",
    )
    yield Finding(
        name=f"results{at}",
        found=facts.shared or "can be written to",
        remedy="mount the same storage at the same path on all machines, writable"
        if facts.shared
        else "",
    )


def _torch(facts: Facts) -> str:
    cuda = f"CUDA {facts.built_for}" if facts.built_for else "no CUDA"
    driver = f"driver {', '.join(sorted(set(facts.drivers)))}" if facts.drivers else "no driver"
    return f"{facts.torch} ({cuda}), {facts.gpus} of {len(facts.drivers)} GPUs usable, {driver}"


def _torch_remedy(facts: Facts) -> str:
    if facts.gpus >= len(facts.drivers):
        return ""
    if not facts.built_for:
        return "install a torch that is built for CUDA: pip install --upgrade torch"
    return (
        f"update NVIDIA's driver to one that knows CUDA {facts.built_for}, or see that "
        "CUDA_VISIBLE_DEVICES shows all GPUs"
    )


def alike(every: Mapping[str, Facts]) -> Iterator[Finding]:
    """Yield whether machines agree in Python, Ray, torch, code and feature stores."""
    same: dict[str, tuple[Callable[[Facts], str], str]] = {
        "python, minor version": (
            lambda f: ".".join(f.python.split(".")[:2]),
            "install the same Python on all machines: Ray sends pickles between them",
        ),
        "ray": (lambda f: f.ray, "run `make setup` on all machines, with one constraints.txt"),
        "torch": (
            lambda f: f.torch.split("+")[0],
            "run `make setup` on all machines, with one constraints.txt",
        ),
        "code": (lambda f: f.code, "run `ray up` again: it brings the project to all machines"),
    }
    for name, (of, remedy) in same.items():
        yield _compared(f"{name} on all machines", {w: of(f) for w, f in every.items()}, remedy)
    names = sorted({name for facts in every.values() for name in facts.stores})
    for name in names:
        yield _compared(
            f"features {name}",
            {w: f.stores[name] for w, f in every.items() if name in f.stores},
            "remove the folder where it differs from the rest; it is brought or made anew",
        )


def _compared(name: str, said: Mapping[str, str], remedy: str) -> Finding:
    if len(set(said.values())) < 2:
        return Finding(name=name, found=next(iter(said.values()), "none"))
    found = ", ".join(f"{value or 'none'} on {where}" for where, value in said.items())
    return Finding(name=name, found=found, remedy=remedy)


def clock(where: str, says: float, between: tuple[float, float]) -> Finding:
    """Return whether a machine's clock is right: it answered `between` two times of ours."""
    off = max(between[0] - says, says - between[1], 0.0)
    return Finding(
        name=f"clock of {where}",
        found=f"{off:.1f} s off" if off > SKEW else "right",
        remedy="turn on NTP there (timedatectl set-ntp true)" if off > SKEW else "",
    )
