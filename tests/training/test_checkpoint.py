"""A run that is stopped, damaged or short of disk comes to the same bits; one that diverges to none."""

import pytest
import torch
from conftest import TINY, make_frames
from making import QUIET, same

from lthdepth import files
from lthdepth.data import weights
from lthdepth.training import arms, fit

pytestmark = pytest.mark.usefixtures("narrow")

CONFIG = TINY.replace(test=False)


def stopped(frames, folder, epochs):
    """A run that was stopped after each of its first `epochs` epochs: a function that continues it."""
    folder.mkdir()
    start = arms.start(CONFIG, weights.NONE)
    for _ in range(epochs):
        with pytest.raises(fit.Stopped):
            fit.fit(CONFIG, frames, start, folder, fit.Options(deadline=0, progress=False))

    def go_on():
        results, *_ = fit.fit(CONFIG, frames, start, folder, QUIET)
        return results, files.read_tensors(folder / "weights.pt")

    return go_on


@pytest.fixture(scope="module")
def whole(narrow, frames, tmp_path_factory):
    """Trained weights of the run in one piece."""
    return stopped(frames, tmp_path_factory.mktemp("whole") / "run", 0)()[1]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4  # in the values of a tensor
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        flip,
        lambda path: torch.save({"model": {}, "optimiser": {}, "state": {}}, path),
    ],
    ids=["cut", "flipped", "of another network"],
)
def test_from_a_damaged_checkpoint_the_run_starts_anew_with_one_warning(
    damage, frames, tmp_path, capsys, whole
):
    go_on = stopped(frames, tmp_path / "run", 1)
    damage(tmp_path / "run" / "checkpoint.pt")
    results, found = go_on()
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "checkpoint.pt" in said[0] and said[0].endswith("the run starts anew.")
    assert len(results["curves"]["train_loss"]) == TINY.epochs and same(found, whole)


def test_weights_that_left_the_finite_numbers_in_the_last_step_are_no_result(tmp_path, monkeypatch):
    frames, step = make_frames().subset(4, 4), torch.optim.SGD.step  # an epoch of one step

    def last(self, *rest):
        step(self, *rest)
        self.param_groups[1]["params"][0].data.view(-1)[0] = float("inf")

    monkeypatch.setattr(torch.optim.SGD, "step", last)
    config = TINY.replace(epochs=1, holdout=False, test=False)
    with pytest.raises(fit.Diverged):
        fit.fit(config, frames, arms.start(config, weights.NONE), tmp_path, QUIET)
    assert list(tmp_path.iterdir()) == []
