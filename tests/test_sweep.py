"""Sweeps: what is missing and in which order, who does it, what happens when a worker dies, and bringing runs together."""

import json
import math
import shutil
import time

import pytest
import torch
from conftest import TINY

from lthdepth import mask
from lthdepth.__main__ import main
from lthdepth.config import level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.runs import effort, inputs, sweep
from lthdepth.runs import run as runs
from lthdepth.runs.engines import Here, Local
from lthdepth.runs.merge import merge
from lthdepth.training import arms

ONE = TINY.replace(epochs=1, holdout=False)
VARYING = ("seconds", "images_per_second", "date", "sha256", "study", "device")


@pytest.fixture
def given(frames):
    return inputs.Inputs(frames, weights.NONE, (None,), None)


def same(one, other):
    return all(one[k] == other[k] for k in one if k not in VARYING)


def test_a_forward_pass_costs_what_the_paper_s_network_does():
    assert effort.macs("resnet50", 228, 304) == pytest.approx(17.5e9, rel=0.01)
    found = mask.densities(arms.start(TINY, weights.NONE)[0], FCRN("resnet18"), 32, 32)
    assert effort.macs("resnet18", 32, 32) == found["counts"]["mac"]


def test_a_run_costs_three_passes_a_frame_and_one_a_score(frames):
    one = 2 * effort.macs("resnet18", 32, 32)
    assert effort.flops(TINY, frames) == one * (
        3 * 3 * 12 + 4 + 4 * (3 + 1)
    )  # 12 to fit, 4 to test, 4 to validate 3 + 1 times
    assert effort.flops(TINY.replace(arm="floor"), frames) == 0


def test_times_come_from_the_nearest_recorded_size_on_the_same_kind_of_device():
    def record(device, **config):
        return {
            "device": device,
            "images_per_second": 10.0,
            "config": {"backbone": "resnet18", "height": 64, "width": 64} | config,
        }

    other = record("CPU, 2 threads", height=320, width=320) | {"images_per_second": 1000.0}
    estimates = effort.Estimates([record("CPU, 2 threads"), record("NVIDIA H200"), other], "CPU, 1 threads")
    config = TINY.replace(height=64, width=64)
    work = 6 * effort.macs("resnet18", 64, 64) * 500
    assert estimates.seconds(config, work) == pytest.approx(100)  # 10 images/s on two threads, 5 on one
    assert estimates.seconds(config.replace(precision="bfloat16"), work) is None
    assert estimates.seconds(TINY.replace(arm="floor"), 0) == 0


def test_what_a_run_needs_comes_before_it_and_is_made_only_where_it_is_missing(given, store):
    deep = ONE.replace(arm="imp", density=level(3))
    study = [
        ONE,
        ONE.replace(arm="omp", density=level(3)),
        deep,
        ONE.replace(seed=1),
        ONE.replace(arm="imp", density=level(1)),
    ]
    jobs = sweep.plan(study, given, store)
    assert [(j.config.arm, round(math.log(j.config.density, 0.8)), j.config.seed) for j in jobs] == [
        ("dense", 0, 0),
        ("omp", 3, 0),
        ("imp", 1, 0),
        ("imp", 2, 0),
        ("imp", 3, 0),
        ("dense", 0, 1),
    ]
    keys = [j.key for j in jobs]
    assert [j.needs for j in jobs] == [(), (), (keys[0],), (keys[2],), (keys[3],), ()]
    assert [j.keep for j in jobs] == [True, False, True, True, False, False]
    assert keys[0] == given.key(ONE) and jobs[0].flops == effort.flops(ONE, given.frames)

    outcome, record = sweep.attempt(jobs[0], given, store, "cpu", "toy", progress=False)
    assert outcome == "finished" and record["key"] == keys[0]
    left = sweep.plan(study, given, store)
    assert [j.key for j in left] == keys[1:] and left[1].needs == (keys[0],)
    (store.local / keys[0] / "weights.pt").unlink()  # a later round needs them
    assert [j.key for j in sweep.plan(study, given, store)] == [keys[1], keys[0], *keys[2:]]
    assert sweep.plan([ONE], given, store) == []


def test_a_run_that_diverged_before_is_not_made_again_nor_those_that_need_it(given, store):
    bad = ONE.replace(lr_encoder=1e30, lr_decoder=1e30)
    study = [bad, ONE.replace(arm="floor"), bad.replace(arm="imp", density=level(1))]
    assert (
        sweep.attempt(sweep.plan([bad], given, store)[0], given, store, "cpu", "toy", progress=False)[0]
        == "failed"
    )
    first, _, last = jobs = sweep.plan(study, given, store)
    assert "diverged" in first.failed and last.failed == f"it needs {first.key}, which failed"
    engine = Script()
    found, said = drive(jobs, engine)
    assert engine.started == [jobs[1].key] and found.failed.keys() == {first.key, last.key}
    assert sum("failed before" in text for text in said) == 2


class Script:
    """An engine that says what a test wrote down: `{key: [(outcome, value), ...]}`; "finished" where nothing is left."""

    def __init__(self, outcomes=None, slots=1, takes=0.0):
        self.slots, self.outcomes, self.takes = slots, outcomes or {}, takes
        self.started, self.events, self.closed, self.most, self.at_work = [], [], False, 0, 0

    def start(self, slot, job, seconds, wait):
        self.started.append(job.key)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        script = self.outcomes.get(job.key, [])
        self.events.append(
            (slot, *(script.pop(0) if script else ("finished", {"key": job.key, "device": "CPU"})))
        )

    def wait(self, seconds):
        time.sleep(self.takes)
        self.at_work -= 1
        return [self.events.pop(0)]

    def close(self):
        self.closed = True


def jobs_of(*needs):
    """Jobs "0", "1" ..., each with the keys it needs."""
    return [sweep.Job(str(i), ONE, tuple(n), flops=1e9) for i, n in enumerate(needs)]


def drive(jobs, engine, **options):
    said = []
    found = sweep.Drive(
        jobs, engine, effort.Estimates([], "CPU"), say=lambda what: said.append(str(what)), **options
    )
    found.run()
    assert engine.closed
    return found, said


def test_workers_take_the_first_job_whose_needs_are_done():
    engine = Script(slots=2)
    found, _ = drive(jobs_of((), "0", "1", ()), engine)
    assert engine.started == ["0", "3", "1", "2"] and engine.most == 2
    assert found.made == 4 and found.left == []


def test_the_first_job_of_a_chain_makes_the_rounds_and_may_fail():
    jobs = [sweep.Job(str(i), ONE, ("0",) * (i > 0), chain="logits-a", flops=1e9) for i in range(3)]
    engine = Script({"0": [("failed", "it diverged")]}, slots=3)
    found, _ = drive(jobs, engine)
    assert engine.started == ["0", "1", "2"] and found.made == 2 and found.failed.keys() == {"0"}


def test_a_run_whose_worker_dies_is_tried_three_times_and_others_go_on():
    engine = Script({"0": [("died", "exit status -9")] * 9, "2": [("died", "exit status -9")]})
    found, said = drive(jobs_of((), "0", ()), engine)
    assert engine.started == ["0", "0", "0", "2", "2"]
    assert found.failed.keys() == {"0", "1"} and "needs 0" in found.failed["1"] and found.made == 1
    assert any("died 3 times" in text for text in said)


def test_a_diverged_run_is_told_and_a_bug_shown_after_the_others():
    engine = Script({"0": [("failed", "it diverged")], "1": [("bug", "Traceback ...\nValueError: 3")]})
    with pytest.raises(RuntimeError, match="ValueError: 3"):
        drive(jobs_of((), (), ()), engine)
    assert engine.started == ["0", "1", "2"]


def test_a_full_disk_ends_the_sweep():
    engine = Script({"0": [("refused", "cannot write: free some space.")]})
    with pytest.raises(UserError, match="free some space"):
        drive(jobs_of((), ()), engine)
    assert engine.closed and engine.started == ["0"]


def test_what_another_process_makes_is_waited_for_at_the_end():
    engine = Script({"0": [("busy", "process 7 is at work on it")]})
    assert drive(jobs_of((), ()), engine)[0].made == 2
    assert engine.started == ["0", "1", "0"]


@pytest.mark.parametrize("budget", [0, 0.25])
def test_nothing_is_begun_after_the_budget(budget):
    engine = Script(takes=0.1)
    started = time.monotonic()
    found, _ = drive(jobs_of(*[()] * 20), engine, budget=budget)
    assert found.made <= 4 and len(found.left) == 20 - found.made and time.monotonic() - started < 1.5
    assert bool(found.made) == bool(budget)


def test_a_worker_that_had_to_stop_ends_the_sweep_and_the_run_is_left():
    engine = Script({"0": [("stopped", "stopped after epoch 1 of 3")]})
    found, said = drive(jobs_of((), ()), engine, budget=100)
    assert engine.started == ["0"] and [job.key for job in found.left] == ["0", "1"]


def test_the_time_left_is_the_work_over_the_workers_or_the_longest_chain():
    class Second:
        def seconds(self, config, work):
            return 1.0

    assert sweep.remaining(jobs_of((), (), (), ()), [], Second(), 2) == 2
    assert sweep.remaining(jobs_of((), "0", "1", "2"), [], Second(), 4) == 4
    assert sweep.remaining(jobs_of(()), [], effort.Estimates([], "CPU"), 1) is None
    running = [(jobs_of(())[0], time.monotonic() - 30, (1, 4, 0.5))]
    assert sweep.remaining([], running, Second(), 1) == pytest.approx(90, abs=1)


def test_two_processes_make_the_same_records_as_one_and_a_killed_one_is_replaced(tmp_path):
    """Rooms, as workers load their own frames; two seeds, and a ticket from the weights of the first."""
    torch.set_num_threads(1)  # as in each of two workers on two cores
    sources = inputs.Sources("toy", "rooms:24")
    loaded, stores = sources.load(), [runs.Store(tmp_path / n, tmp_path / "results") for n in ("one", "two")]
    configs = [ONE.replace(test=False), ONE.replace(seed=1, epochs=3, test=False)]
    configs.append(configs[0].replace(arm="imp", density=level(1)))
    sweep.Drive(
        sweep.plan(configs, loaded, stores[0]),
        Here(loaded, stores[0], "cpu", "toy", 0.0),
        effort.Estimates([], ""),
        say=str,
    ).run()

    engine, killed = Local(2, sources, stores[1], torch.device("cpu"), "toy", 0.0), []
    real = engine.wait

    def wait(seconds):
        found = real(seconds)
        if not killed and any(kind == "progress" and state[:2] == (1, 3) for _, kind, state in found):
            slot = next(slot for slot, kind, _ in found if kind == "progress")
            killed.append(engine.workers[slot][0].pid)
            engine.workers[slot][0].kill()
        return found

    engine.wait, said = wait, []
    sweep.Drive(
        sweep.plan(configs, loaded, stores[1]),
        engine,
        effort.Estimates([], ""),
        say=lambda what: said.append(what),
    ).run()
    assert killed and any("the worker died" in str(what) for what in said)
    one, two = (store.records() for store in stores)
    assert one.keys() == two.keys() and len(one) == 3
    assert all(same(one[key], two[key]) for key in one)


def test_runs_of_several_machines_come_together_without_duplicates(frames, tmp_path, capsys):
    stores = [runs.Store(tmp_path / name, tmp_path / "results") for name in ("a", "b", "c")]
    floor, dense = ONE.replace(arm="floor"), ONE.replace(test=False)
    for store, configs in zip(stores, ([floor, dense], [floor]), strict=False):
        for config in configs:
            runs.run(config, frames, weights.NONE, store, study="toy", progress=False)
    packed = runs.Store(tmp_path / "packed", tmp_path / "packed")
    shutil.copytree(tmp_path / "a", tmp_path / "packed", dirs_exist_ok=True)
    packed.publish(list(stores[0].records()), "toy")
    for folder in (tmp_path / "packed").iterdir():
        if folder.is_dir() and folder.name != "arrays":
            shutil.rmtree(folder)  # only runs.jsonl and arrays/ remain

    assert merge([tmp_path / "b", tmp_path / "packed"], stores[2]) == (2, 1, [])
    assert merge([tmp_path / "a"], stores[2]) == (0, 2, [])
    found = stores[2].records()
    assert found == stores[0].records()
    for key in found:
        for name, array in stores[0].arrays(key).items():
            torch.testing.assert_close(
                stores[2].arrays(key)[name].astype(float), array.astype(float), rtol=1e-3, atol=1e-3
            )
    assert main(["merge", str(tmp_path / "a"), "--out", str(tmp_path / "d")]) == 0
    assert "2 runs added" in capsys.readouterr().out
    whole = [p for p in (tmp_path / "d").glob("*/weights.pt")]
    assert len(whole) == 1  # where a machine's whole folder is at hand, trained weights come along
    record = json.loads(next((tmp_path / "d").glob("*/record.json")).read_text())
    assert record["key"] in found
    assert main(["merge", str(tmp_path / "nowhere")]) == 2
    assert "holds no finished runs" in capsys.readouterr().err


def test_a_machine_can_take_a_share_of_the_seeds(capsys):
    assert (
        main(["sweep", "paper", "--data", "rooms:24", "--weights", "none", "--seeds", "1", "4", "--dry-run"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert {
        line.partition("seed ")[2].split()[0] for line in lines if "seed " in line and "floor" not in line
    } == {"1", "4"}


@pytest.mark.parametrize(
    "words", [["--jobs", "0"], ["--budget", "-1"], ["--budget", "nan"], ["--gpus", "-1"], ["--every", "-1"]]
)
def test_values_out_of_range_are_refused(words, capsys):
    assert main(["sweep", "quick", "--data", "rooms:24", *words]) == 2
    assert f"lthdepth: {words[0]}" in capsys.readouterr().err
