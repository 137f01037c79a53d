"""Networks of a test's own: an address; for root only, namespaces in which lines can be cut and made slow."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

_PROBE = """
set -e
ip link set lo up
iptables -A INPUT -p tcp --dport 9 -j DROP
ip link add a0 type veth peer name a1
tc qdisc add dev a0 root tbf rate 1mbit burst 16kb latency 1s
"""


@cache
def why_not() -> str:
    """Return why there are none; "" if there are."""
    if os.geteuid() != 0:
        return "only root can cut lines"
    for program in ("unshare", "ip", "iptables", "tc"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run(["unshare", "--net", "sh", "-c", _PROBE], capture_output=True, text=True)
    return tried.stderr.strip().replace("\n", "; ") if tried.returncode else ""


def own_host() -> str:
    """Return an address of this machine at which a port that was free stays so: nobody else uses it."""
    pid = os.getpid()
    return f"127.{pid >> 16 & 63 | 64}.{pid >> 8 & 255}.{pid & 255}"
