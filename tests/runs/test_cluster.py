"""What a worker of a Ray cluster does; a sweep on a real cluster of two nodes here, one worker of it killed.

The second needs Ray, which is no part of the test environment (240 MB), and one to two minutes:
`pip install -c constraints.txt 'lthdepth[ray]'`, then `LTHDEPTH_RAY=1 ./build.sh test -k cluster`.
"""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from conftest import TINY, narrow_networks
from making import BROKEN, QUIET, kill_first, settled

from lthdepth.config import level
from lthdepth.data import weights
from lthdepth.runs import cluster, sweep
from lthdepth.runs import run as runs

DENSE = TINY.replace(holdout=False, test=False, epochs=4)
TICKET = DENSE.replace(arm="imp", density=level(1), epochs=1, round_epochs=4)  # from the dense weights
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


@pytest.fixture
def narrow(monkeypatch):
    """For one test only: the workers of the cluster know nothing of narrow networks."""
    narrow_networks(monkeypatch.setattr)


@pytest.fixture
def given(frames):
    return runs.Inputs(frames, weights.NONE)


def test_a_worker_gets_and_returns_files_and_leaves_nothing(given, store, tmp_path, monkeypatch, narrow):
    """Runs made file by file are those made in a store; nothing is made that follows from a failed run."""
    monkeypatch.setattr(cluster, "SCRATCH", tmp_path / "scratch")
    dense = DENSE.replace(epochs=1)
    ticket = dense.replace(arm="imp", density=level(1))
    there, sent = runs.Store(tmp_path / "there", tmp_path / "results"), {}
    for config in (dense, ticket):
        sent = cluster.made(config, given, QUIET, "toy", sent)
        assert not list((tmp_path / "scratch").iterdir())
        assert cluster.collect(sent, there) == ""
    sweep.sweep([dense, ticket], given, store, QUIET, "toy")
    assert settled(store) == settled(there) and len(settled(store)) == 2
    bad = DENSE.replace(**BROKEN)
    sent = cluster.made(bad, given, QUIET, "toy")
    after = cluster.made(bad.replace(arm="imp", density=level(2)), given, QUIET, "toy", sent)
    assert after == sent and list(sent) == [f"{given.key(bad)}/failed.json"]
    assert "diverged" in cluster.collect(sent, there) and len(there.failed()) == 1


@pytest.fixture
def two_nodes():
    if not os.environ.get("LTHDEPTH_RAY"):
        pytest.skip("a cluster takes one to two minutes: set LTHDEPTH_RAY=1")
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'lthdepth[ray]'")
    from ray.cluster_utils import Cluster

    def options():
        """Named ports: to find some, a raylet gives its agent 15 s, too few on a busy machine (ray 65983)."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            ports = {name: s.getsockname()[1] for name, s in zip(PORTS, sockets)}
        return {"num_cpus": 1, "object_store_memory": 100 << 20} | ports

    two = Cluster(initialize_head=True, head_node_args=options() | {"include_dashboard": False})
    two.add_node(**options())
    yield two
    ray.shutdown()
    two.shutdown()


def test_a_cluster_makes_the_same_records_though_a_worker_is_killed(given, tmp_path, two_nodes, monkeypatch):
    torch.set_num_threads(1)  # as Ray gives a worker of one CPU
    monkeypatch.setenv("RAY_ADDRESS", two_nodes.address)
    stores = [runs.Store(tmp_path / name, tmp_path / "results") for name in ("here", "there")]
    configs = [DENSE, DENSE.replace(seed=1), TICKET]
    assert sweep.sweep(configs, given, stores[0], QUIET, "toy") == ([], {})
    with ThreadPoolExecutor() as thread:
        killed = thread.submit(kill_first, "*/*/checkpoint.pt", cluster.SCRATCH)
        assert cluster.on_cluster(configs, given, stores[1], QUIET, "toy") == ([], {})
        assert killed.result()
    one, two = (settled(store) for store in stores)
    assert one == two and len(one) == 3
    for key in one:
        assert all((stores[0].arrays(key)[k] == v).all() for k, v in stores[1].arrays(key).items())
