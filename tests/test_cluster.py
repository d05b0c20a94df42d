"""What a worker of a Ray cluster does; and, where Ray is installed, a sweep on a real cluster of two nodes on this machine,
one worker of which is killed. Ray is no part of the test environment: `pip install 'lthdepth[ray]'` adds it (240 MB).
"""

import os
import signal
import threading
import time

import pytest
import torch
from conftest import TINY

from lthdepth import cluster as engines
from lthdepth import cost, inputs, runs, sweep, weights
from lthdepth.config import level
from lthdepth.engines import Here

DENSE = TINY.replace(holdout=False, test=False, epochs=4)
TICKET = DENSE.replace(arm="imp", density=level(1), epochs=1, round_epochs=4)  # from the weights of the dense run
VARYING = ("seconds", "images_per_second", "date", "sha256", "device")


@pytest.fixture
def given(frames):
    return inputs.Inputs(frames, weights.NONE, (None,), None)


def constant(record):
    return {k: v for k, v in record.items() if k not in VARYING}


def test_a_worker_gets_and_returns_the_files_of_its_run_and_leaves_nothing(given, store, tmp_path, monkeypatch):
    """Jobs made in a folder of their own, file by file, are those made in a store; weights travel where they are needed."""
    monkeypatch.setattr(engines, "SCRATCH", tmp_path / "scratch")
    dense = DENSE.replace(epochs=1)
    jobs, moved = sweep.plan([dense, dense.replace(arm="imp", density=level(1))], given, store), {}
    made = {"commit": "123456789abc", "dirty": False}
    for job in jobs:
        outcome, record, found = engines._make(job, dict(moved), given, "cpu", "toy", 0.0, made)
        assert outcome == "finished" and record["commit"] == "123456789abc"
        assert list(found)[-1] == f"{job.key}/record.json" and not list((tmp_path / "scratch").iterdir())
        assert (f"{job.key}/weights.pt" in found) == (job.config == dense)
        moved |= found
    for name, content in moved.items():
        runs.write_atomic(tmp_path / "there" / name, content)
    for job in jobs:
        sweep.attempt(job, given, store, "cpu", "toy", progress=False)
    one, two = store.records(), runs.Store(tmp_path / "there", tmp_path / "results").records()
    assert one.keys() == two.keys() and len(one) == 2
    assert all(constant(one[key]) | made == constant(two[key]) | made for key in one)


@pytest.fixture
def cluster():
    pytest.importorskip("ray", reason="needs Ray: pip install 'lthdepth[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    memory = {"num_cpus": 1, "object_store_memory": 100 << 20}
    found = Cluster(initialize_head=True, head_node_args=memory | {"include_dashboard": False})
    found.add_node(**memory)
    yield found
    ray.shutdown()
    found.shutdown()


def kill_first(scratch, killed):
    """Kill the first worker that has written a checkpoint; its lock says who it is."""
    until = time.monotonic() + 120
    while not killed and time.monotonic() < until:
        for path in scratch.glob("*/*/checkpoint.pt"):
            lock = path.parent.with_name(f".{path.parent.name}.lock")
            if lock.exists() and (text := lock.read_text().split()):
                os.kill(int(text[1]), signal.SIGKILL)
                killed.append(path.parent.name)
                return
        time.sleep(0.02)


def test_a_cluster_makes_the_same_records_though_a_worker_is_killed(given, tmp_path, cluster):
    torch.set_num_threads(1)  # as Ray gives a worker of one CPU
    stores = [runs.Store(tmp_path / name, tmp_path / "results") for name in ("here", "there")]
    configs = [DENSE, DENSE.replace(seed=1), TICKET]
    sweep.Drive(sweep.plan(configs, given, stores[0]), Here(given, stores[0], "cpu", "toy", 60.0), cost.Estimates([], ""), say=str).run()

    engine, said, killed = engines.Ray(2, 0, given, stores[1], "toy", 0.0, cluster.address), [], []
    thread = threading.Thread(target=kill_first, args=(engines.SCRATCH, killed))
    thread.start()
    sweep.Drive(sweep.plan(configs, given, stores[1]), engine, cost.Estimates([], ""), say=lambda what: said.append(str(what))).run()
    thread.join()
    assert killed and any("the worker died" in text for text in said)
    one, two = (store.records() for store in stores)
    assert one.keys() == two.keys() and len(one) == 3
    for key in one:
        assert constant(one[key]) == constant(two[key])
        assert all((stores[0].arrays(key)[k] == v).all() for k, v in stores[1].arrays(key).items())
