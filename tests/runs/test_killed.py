"""Publishing and merging killed at every write: what is there is whole; the next call makes it complete."""

import os
import signal

import pytest
from conftest import TINY
from making import BROKEN, make

from lthdepth.runs import run as runs
from lthdepth.training.fit import Diverged

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def made(narrow, frames, tmp_path_factory):
    """A store with two finished runs and one that failed."""
    store = runs.Store(tmp_path_factory.mktemp("made") / "runs", "nowhere")
    for config in (TINY.replace(arm="floor"), TINY.replace(epochs=1)):
        make(config, frames, store)
    with pytest.raises(Diverged):
        make(TINY.replace(**BROKEN), frames, store)
    return store


def killed(work, n):
    """Whether work, in its own process, was killed before its n-th file took its place (n + 1/2: after)."""
    if pid := os.fork():
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    try:
        replace, count = os.replace, [0]

        def counted(*paths):
            count[0] += 1
            if count[0] == n:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
            if count[0] + 0.5 == n:
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
    def contents(store):  # reads and checks every file
        arrays = {key: store.arrays(key).items() for key in store.records()}
        return {
            key: {k: v.tobytes() for k, v in items} for key, items in arrays.items()
        }, store.failed().keys()

    def paths(folder):
        return {path.relative_to(folder) for path in folder.rglob("*")}

    whole, work = kind(made, tmp_path / "whole")
    work()
    wanted, n = contents(whole), 1
    assert [len(part) for part in wanted] == [2, 1]
    while True:
        store, work = kind(made, tmp_path / str(n))
        if not killed(work, n):
            break
        assert contents(store)[0].items() <= wanted[0].items()
        work()
        assert contents(store) == wanted and paths(tmp_path / str(n)) == paths(tmp_path / "whole")
        n += 0.5
    assert n > 4
