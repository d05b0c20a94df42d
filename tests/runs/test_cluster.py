"""What a worker of a Ray cluster does; and a sweep on a real cluster of two nodes on this machine, one worker
of it killed.

The second needs Ray, which is no part of the test environment (240 MB), and one to two minutes:
`pip install -c constraints.txt 'lthdepth[ray]'`, then `LTHDEPTH_RAY=1 ./build.sh test
tests/runs/test_cluster.py`.
"""

import os
import signal
import socket
import threading
import time
from contextlib import ExitStack

import pytest
import torch
from conftest import TINY

from lthdepth.config import level
from lthdepth.data import weights
from lthdepth.files import write_atomic
from lthdepth.runs import cluster as engines
from lthdepth.runs import run as runs
from lthdepth.runs import sweep

DENSE = TINY.replace(holdout=False, test=False, epochs=4)
TICKET = DENSE.replace(
    arm="imp", density=level(1), epochs=1, round_epochs=4
)  # from the weights of the dense run
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
VARYING = ("seconds", "images_per_second", "date", "sha256", "device")


@pytest.fixture
def given(frames):
    return runs.Inputs(frames, weights.NONE)


def constant(record):
    return {k: v for k, v in record.items() if k not in VARYING}


def test_a_worker_gets_and_returns_the_files_of_its_run_and_leaves_nothing(
    given, store, tmp_path, monkeypatch
):
    """Runs made in a folder of their own, file by file, are those made in a store; weights travel where
    needed.
    """
    monkeypatch.setattr(engines, "SCRATCH", tmp_path / "scratch")
    dense = DENSE.replace(epochs=1)
    ticket = dense.replace(arm="imp", density=level(1))
    there, sent = runs.Store(tmp_path / "there", tmp_path / "results"), {}
    for config, keep in ((dense, True), (ticket, False)):
        how = runs.Options(progress=False, keep=keep)
        sent = engines.made(config, given, how, ("toy", None), {}, sent)
        assert not list((tmp_path / "scratch").iterdir())
        assert (f"{given.key(config)}/weights.pt" in sent) == keep
        for name, content in sent.items():
            write_atomic(there.local / name, content)
    sweep.sweep([dense, ticket], given, store, runs.Options(progress=False), "toy")
    one, two = store.records(), there.records()
    assert one.keys() == two.keys() and len(one) == 2
    assert all(constant(one[key]) == constant(two[key]) for key in one)


def test_a_worker_makes_nothing_after_the_time_nor_what_follows_from_a_failed_run(
    given, tmp_path, monkeypatch
):
    monkeypatch.setattr(engines, "SCRATCH", tmp_path / "scratch")
    bad, how = DENSE.replace(lr_encoder=1e30, lr_decoder=1e30), runs.Options(progress=False, keep=True)
    assert engines.made(bad, given, how, ("toy", time.time() - 1)) == {}
    sent = engines.made(bad, given, how, ("toy", None))
    assert list(sent) == [f"{given.key(bad)}/failed.json"]
    follows = bad.replace(arm="imp", density=level(1))
    assert engines.made(follows, given, how, ("toy", None), sent) == {}


@pytest.fixture
def cluster():
    if not os.environ.get("LTHDEPTH_RAY"):
        pytest.skip("a cluster takes one to two minutes: set LTHDEPTH_RAY=1")
    pytest.importorskip("ray", reason="needs Ray: pip install 'lthdepth[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    def options():
        """Named ports: a raylet gives its agent 15 s to find some, too little on a busy machine (ray issue
        65983).
        """
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            ports = {name: s.getsockname()[1] for name, s in zip(PORTS, sockets, strict=True)}
        return {"num_cpus": 1, "object_store_memory": 100 << 20} | ports

    found = Cluster(initialize_head=True, head_node_args=options() | {"include_dashboard": False})
    found.add_node(**options())
    yield found
    ray.shutdown()
    found.shutdown()


def kill_first(scratch, killed):
    """Kill the first worker that has written a checkpoint; its lock says who it is."""
    until = time.monotonic() + 120
    while not killed and time.monotonic() < until:
        for path in scratch.glob("*/*/checkpoint.pt"):
            lock = path.parents[1] / ".locks" / f"{path.parent.name}.lock"
            if lock.exists() and (text := lock.read_text().split()):
                os.kill(int(text[1]), signal.SIGKILL)
                killed.append(path.parent.name)
                return
        time.sleep(0.02)


def test_a_cluster_makes_the_same_records_though_a_worker_is_killed(given, tmp_path, cluster, monkeypatch):
    torch.set_num_threads(1)  # as Ray gives a worker of one CPU
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    stores = [runs.Store(tmp_path / name, tmp_path / "results") for name in ("here", "there")]
    configs, how = [DENSE, DENSE.replace(seed=1), TICKET], runs.Options(progress=False)
    assert sweep.sweep(configs, given, stores[0], how, "toy") == ([], {})
    killed = []
    thread = threading.Thread(target=kill_first, args=(engines.SCRATCH, killed))
    thread.start()
    assert engines.sweep(configs, given, stores[1], how, "toy") == ([], {})
    thread.join()
    assert killed
    one, two = (store.records() for store in stores)
    assert one.keys() == two.keys() and len(one) == 3
    for key in one:
        assert constant(one[key]) == constant(two[key])
        assert all((stores[0].arrays(key)[k] == v).all() for k, v in stores[1].arrays(key).items())
