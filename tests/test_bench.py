"""The benchmark's other side: the network and the frames of public code are those of ours, only written differently."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from lthdepth.bench import bench, plain, timing
from lthdepth.config import PUBLISHED
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.tasks import bench as task

SMALL = PUBLISHED.replace(height=64, width=96, batch=4)


def test_the_plain_network_takes_the_same_steps():
    """Three steps of SGD in float32 from the same weights: losses to 1 in 100 000, weights to a hundredth of how far they moved."""
    fast = initialise(FCRN("resnet18"), 0).train()
    slow = plain.plain(copy.deepcopy(fast)).train()
    start = {k: v.clone() for k, v in fast.named_parameters()}
    rng, losses = torch.Generator().manual_seed(0), {}
    batches = [
        (torch.randn(4, 3, 64, 96, generator=rng), 1 + torch.rand(4, 32, 48, generator=rng)) for _ in range(3)
    ]
    for model in (fast, slow):
        opt = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
        for x, y in batches:
            loss = berhu(model(x)[:, 0], y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.setdefault(model, []).append(loss.item())
    assert losses[fast] == pytest.approx(losses[slow], rel=1e-5)
    named = dict(slow.named_parameters())
    for name, value in fast.named_parameters():
        if name in named:
            assert (value - named[name]).norm() <= 0.01 * (value - start[name]).norm() + 1e-7, name
    for i, up in enumerate(slow.ups):
        whole = torch.cat([branch.weight for branch in up.branches]).flip(2, 3).transpose(0, 1)
        moved = (fast.ups[i].up.weight - start[f"ups.{i}.up.weight"]).norm()
        assert (whole - fast.ups[i].up.weight).norm() <= 0.01 * moved


def test_frames_one_by_one_are_whole_frames_where_nothing_is_drawn(tmp_path):
    frames = timing.noise(4)
    plain.write(tmp_path / "f.h5", frames)
    files = plain.Files(
        tmp_path / "f.h5", 4, PUBLISHED.replace(height=240, width=320, scale=1.0, rotation=0.0, colour=0.0)
    )
    x, y = files[1]
    assert x.shape == (3, 240, 320) and y.shape == (128, 160)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (plain.MEAN, plain.STD))
    seen, truth = (
        ((x * std + mean) * 255)[:, 4::8, 4::8],
        torch.from_numpy(frames.rgb[1])[:, 4::8, 4::8].float(),
    )
    assert (
        min((seen - t).abs().max() for t in (truth, truth.flip(2))) < 0.6
    )  # in the middle of the noise's tiles
    loss = next(plain.steps(plain.plain(FCRN("resnet18")), tmp_path / "f.h5", 4, SMALL, torch.device("cpu")))
    assert 0 < loss < 100
    assert set(y.unique().tolist()) <= set(torch.from_numpy(frames.depth[1]).unique().tolist())


def test_speeds_are_measured_beside_what_is_possible(monkeypatch):
    """Arithmetic: three passes of products. Memory: weights, gradients and momentum eight times. Steps of 0.1 s, and of 0.2 to 0.4 s."""
    found = bench.Bench(torch.device("cpu"), "float32", [(228, 304, 2)], 3, 0.0)
    found.flops, found.bytes, theirs = 1e12, 1e10, iter((0.4, 0.2, 0.3))
    monkeypatch.setattr(bench, "turn", lambda *_: 0.1)
    monkeypatch.setattr(bench, "Taken", lambda *_: SimpleNamespace(cut=int))
    monkeypatch.setattr(timing, "public", lambda *_: nullcontext(lambda least: next(theirs)))
    by_name = {row.measure: row for row in found.compared(228, 304, 2)}
    training, public = (
        by_name["training, 228x304, batch 2"],
        by_name["training as public code does, 228x304, batch 2"],
    )
    assert training.value == pytest.approx(20) and public.value == pytest.approx(2 / 0.3)
    assert training.arithmetic == pytest.approx(found.flops / 6 / 17.5e9, rel=5e-3)
    assert public.arithmetic == pytest.approx(found.flops / 6 / 42.7e9, rel=5e-3)
    assert training.memory == public.memory == pytest.approx(2 * found.bytes / (32 * 63.6e6), rel=0.01)
    ratio = by_name["ours / public, 228x304"]
    assert ratio.value == pytest.approx(3) and ratio.note == "median of 3 turns, 2.00 to 4.00"
    assert 0 <= by_name["input pipeline, 228x304"].value < 5
    assert by_name["of the matrix rate, 228x304"].value == pytest.approx(100 * 20 / training.arithmetic)


def test_both_take_steps():
    config, device = SMALL.replace(height=32, width=32, batch=2), torch.device("cpu")
    with timing.public(config, device) as public:
        assert public(0) > 0
    assert timing.turn(timing.Taken(config, timing.noise(4), device), device, 0) > 0


def test_a_part_that_fails_becomes_a_row_and_the_next_is_measured(monkeypatch):
    found = bench.Bench(torch.device("cpu"), "float32", [(32, 32, 2)], 1, 0.0)
    monkeypatch.setattr(found, "limits", lambda: iter([bench.Row("m", 1.0, "s")]))
    for name in ("compared", "masked", "evaluation", "shared"):
        monkeypatch.setattr(found, name, lambda *_: iter(()))
    monkeypatch.setattr(found, "peak", lambda: [][0])
    rows = list(found.run())
    assert [row.measure for row in rows] == ["m", "<lambda>"]
    assert "IndexError" in rows[1].note and task._cells(rows[1])[1] == ""


def test_a_whole_run_is_measured():
    found = bench.Bench(torch.device("cpu"), "float32", [(32, 32, 16)], 1, 0.0)
    found.flops, found.bytes = 1e12, 1e10
    (row,) = found.whole(epochs=1, frames=16, tested=2)
    assert row.value > row.memory > 0 and row.arithmetic == pytest.approx(
        (6 * 16 + 2 * 2) * bench.macs(found.large) / 1e12
    )


def test_the_death_of_public_code_is_told(monkeypatch):
    monkeypatch.setattr(timing, "_public", print)  # it says something else than the pipe expects, and ends
    with pytest.raises(RuntimeError, match="has died"), timing.public(SMALL, torch.device("cpu")):
        pass


@pytest.mark.parametrize(
    ("target", "value", "said"), [("≥ 2.4", 2.4, "met"), ("≥ 2.4", 2.3, "missed"), ("≤ 2", 1.9, "met")]
)
def test_a_target_is_met_or_missed(target, value, said):
    assert task._cells(bench.Row("m", value, "times", target=target))[5] == f"{target}: {said}"
