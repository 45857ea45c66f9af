from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.engine.session import Resources, ray_session
from orchestrator.errors import InputError

LISTENING = """
import psutil, ray
from orchestrator.engine.session import ray_session
with ray_session(cpus=1):
    ray.get(ray.remote(lambda: 1).remote())
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports = {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
print(sorted(ports))
"""


def test_a_local_ray_listens_on_loopback_only_and_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = done.stdout.strip().splitlines()[-1]
    assert "127.0.0.1" in found
    assert all("127.0.0.1" in ip for ip in found.strip("[]").split(", ")), found
    assert done.stderr == ""


def test_a_session_that_is_there_is_used_and_left_open(resources: Resources) -> None:
    import ray

    with ray_session() as found:
        assert found == resources
    assert ray.is_initialized()


def test_an_address_without_a_cluster_is_named() -> None:
    code = "from orchestrator.engine.session import ray_session\nwith ray_session('127.0.0.1:1'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert InputError.__name__ in done.stderr and "--address: no Ray cluster answers at '127.0.0.1:1'" in done.stderr


def test_an_address_of_ray_s_client_is_refused_with_those_that_are_allowed() -> None:
    code = "from orchestrator.engine.session import ray_session\nwith ray_session('ray://10.0.0.1:10001'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "InputError: --address: got 'ray://10.0.0.1:10001', allowed: `host:port` of" in done.stderr
    assert "or `auto` on a machine of the cluster" in done.stderr


@pytest.mark.parametrize("name", ["RAY_USAGE_STATS_ENABLED"])
def test_nothing_phones_home(name: str) -> None:
    import os

    assert os.environ[name] == "0"
