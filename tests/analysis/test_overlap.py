"""What tickets have in common, and the rounds that made one."""

import numpy as np
import pytest
import torch
from made_up import curve, study

from lthdepth import tickets
from lthdepth.analysis import levels
from lthdepth.config import level
from lthdepth.paper import plots
from lthdepth.runs.record import PLACES, sample


def exact(one, two):
    a, b = (torch.cat([m.flatten() for m in t.masks.values()]) for t in (one, two))
    return ((a & b).sum() / (a | b).sum()).item()


@pytest.mark.parametrize("density", [0.018, 0.3])
def test_the_estimate_is_near_the_overlap_of_the_whole_tickets(resnet18_prunable, density):
    one, two = (
        tickets.random(resnet18_prunable, density, 0),
        tickets.magnitude(resnet18_prunable, 2 * density),
    )
    n = PLACES * density  # places that count, about
    for a, b in ((one, two), (tickets.magnitude(resnet18_prunable, density), two)):
        assert levels.iou(sample(a), sample(b)) == pytest.approx(exact(a, b), abs=4 * 0.5 / n**0.5)
    assert levels.iou(sample(one), sample(one)) == 1
    assert np.isnan(levels.iou(sample(one) * 0, sample(one) * 0))


def test_random_tickets_share_what_chance_gives_them(resnet18_prunable):
    magnitude = tickets.magnitude(resnet18_prunable, 0.2)
    one, two = tickets.shuffled(magnitude, 0), tickets.shuffled(magnitude, 1)
    assert levels.by_chance(one.layers(), two.layers()) == pytest.approx(exact(one, two), rel=0.01)


def test_the_picture_shows_every_ticket_once_and_needs_two():
    records, _ = study(3, curve("omp", 0, (18,)) | curve("random", 0.1, (18,)) | {("imp", level(6)): 0.0})
    rng, bits = np.random.default_rng(0), {}
    for r in records:  # the one-shot ticket is the same for every seed
        same = r["arm"] == "omp"
        r["ticket"] |= {"fingerprint": "omp" if same else r["key"]}
        bits[r["key"]] = {
            "ticket": np.packbits(np.arange(80) % 5 == 0) if same else rng.integers(0, 256, 10, np.uint8)
        }
    drawn = plots.overlaps(records, bits.__getitem__)
    names = [t.get_text() for t in drawn.axes[0].get_yticklabels()]
    assert names == ["random, seed 0", "random, seed 1"]
    assert plots.overlaps(records, lambda key: {}) is None
