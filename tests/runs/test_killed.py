"""Publishing and merging killed at every write: what is there is whole, and the same command makes it
complete.
"""

import os
import signal

import pytest
from conftest import TINY

from lthdepth.data import weights
from lthdepth.runs import run as runs
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def made(frames, tmp_path_factory):
    """A store with two finished runs and one that failed."""
    store = runs.Store(tmp_path_factory.mktemp("made") / "runs", "nowhere")
    for config in (TINY.replace(arm="floor"), TINY.replace(epochs=1)):
        runs.run(
            config, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False), study="paper"
        )
    with pytest.raises(train.Diverged):
        runs.run(
            TINY.replace(lr_encoder=1e30, epochs=1),
            runs.Inputs(frames, weights.NONE),
            store,
            runs.Options(progress=False),
            study="paper",
        )
    return store


def killed(work, n):
    """Do it in a process that is killed before its n-th file takes its place, or, for n + 1/2, right after;
    whether it was.
    """
    if pid := os.fork():
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    try:
        replace, count = os.replace, [0]

        def counted(*paths):
            count[0] += 1
            if count[0] == int(n) and n == int(n):
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
            if count[0] == int(n):
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = counted
        work()
    finally:
        os._exit(0)


def published(made, folder):
    store = runs.Store(made.local, folder)
    return runs.Store("nowhere", folder), lambda: store.publish([*made.records(), *made.failed()], "paper")


def merged(made, folder):
    store = runs.Store(folder, "nowhere")
    return store, lambda: store.merge(made.local)


@pytest.mark.parametrize("kind", [published, merged])
def test_what_is_killed_is_whole_and_made_complete_by_the_next(kind, made, tmp_path):
    def contents(store):
        found = {
            key: {k: v.tobytes() for k, v in store.arrays(key).items()} for key in store.records()
        }  # reads and checks every file
        return found, store.failed().keys()

    whole, work = kind(made, tmp_path / "whole")
    work()
    wanted, n = contents(whole), 1
    assert len(wanted[0]) == 2 and len(wanted[1]) == 1
    while True:
        store, work = kind(made, tmp_path / str(n))
        if not killed(work, n):
            break
        found, _ = contents(store)
        assert found.items() <= wanted[0].items()
        work()
        assert contents(store) == wanted
        assert {p.relative_to(tmp_path / str(n)) for p in (tmp_path / str(n)).rglob("*")} == {
            p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*")
        }  # nothing is left over
        n += 0.5
    assert n > 4
