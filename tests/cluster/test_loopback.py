"""A search on one machine listens on that machine alone."""

import ipaddress
import json
import os
import subprocess
import sys

from paths import ROOT

LISTENING = """
import json, psutil, ray
from drmn.cluster.connect import ray_session
with ray_session():
    @ray.remote
    def work():
        return 1
    assert ray.get(work.remote()) == 1
    me = psutil.Process()
    found = [
        [" ".join(process.cmdline())[-80:], end.laddr.ip]
        for process in (me, *me.children(recursive=True))
        for end in process.net_connections("inet")
        if end.status == psutil.CONN_LISTEN
    ]
print(json.dumps(found))
"""


def test_all_of_a_local_ray_listens_on_the_loopback_address():
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LISTENING],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=env,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= 4  # driver, GCS, raylet, agents
    for name, address in found:
        place = ipaddress.ip_address(address)
        assert (getattr(place, "ipv4_mapped", None) or place).is_loopback, (name, address)
