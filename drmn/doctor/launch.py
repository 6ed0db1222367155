"""Checks of a file that describes a cluster, before any machine is started for it."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from drmn.cluster import launch_file
from drmn.doctor.finding import Finding
from drmn.doctor.secrets import private
from drmn.flags import expand_home


def file(path: Path) -> Iterator[Finding]:
    """Yield the findings about a cluster's file.

    Raises:
        ConfigError: It is no such file.
    """
    content = launch_file.read(path)
    left = list(launch_file.blanks(content))
    for field, blank in left:
        yield Finding(name=f"{path}: {field}", found=f"{blank} stands there", remedy="fill it in")
    if not left:
        yield Finding(name=f"{path}: fields", found="all filled in")
    yield from _kubernetes(path, content) if "kind" in content else _ray_up(path, content)


def _mapping(found: object) -> Mapping[str, Any]:
    """Return a part of the file; empty where something else stands there, as the schema says."""
    return found if isinstance(found, Mapping) else {}


def _ray_up(path: Path, content: Mapping[str, Any]) -> Iterator[Finding]:
    wrong = launch_file.against_schema(content)
    yield Finding(
        name=f"{path}: Ray's schema",
        found=wrong or "kept",
        remedy='see https://docs.ray.io, "Cluster YAML Configuration Options"' if wrong else "",
    )
    key = str(_mapping(content.get("auth")).get("ssh_private_key") or "")
    if key and not launch_file.BLANK.search(key):
        remedy = "name a key that is there"
        yield private(f"{path}: auth.ssh_private_key", Path(expand_home(key)), remedy)
    mounts = [str(local) for local in _mapping(content.get("file_mounts")).values()]
    token = next((local for local in mounts if local.endswith("auth_token")), None)
    if token is None:
        yield Finding(
            name=f"{path}: token",
            found="not among file_mounts",
            remedy="add ~/.ray/auth_token: ~/.ray/auth_token, or anybody may run code there",
        )
    else:
        remedy = "make one: ray get-auth-token --generate; chmod 600 ~/.ray/auth_token"
        yield private(f"{path}: token", Path(expand_home(token)), remedy)
    for local in mounts:
        if not Path(expand_home(local)).exists() and not local.endswith("auth_token"):
            yield Finding(
                name=f"{path}: file_mounts",
                found=f"{local} is not here",
                remedy="run this, and `ray up`, in the folder of the project",
            )


def _kubernetes(path: Path, content: Mapping[str, Any]) -> Iterator[Finding]:
    kind, spec = content["kind"], _mapping(content.get("spec"))
    known = content.get("apiVersion") == "ray.io/v1" and kind in ("RayCluster", "RayJob")
    yield Finding(
        name=f"{path}: kind",
        found=f"{kind} of {content.get('apiVersion')}",
        remedy="" if known else "KubeRay's are RayCluster and RayJob of ray.io/v1",
    )
    cluster = _mapping(spec.get("rayClusterSpec")) or spec
    stated, have = str(cluster.get("rayVersion")), version("ray")
    yield Finding(
        name=f"{path}: rayVersion",
        found=stated,
        remedy="" if stated == have else f"set {have}, which the image has from constraints.txt",
    )
    mode = _mapping(cluster.get("authOptions")).get("mode")
    yield Finding(
        name=f"{path}: authOptions.mode",
        found=str(mode),
        remedy="" if mode == "token" else "set token, or anybody in the cluster may run code there",
    )
