"""The task `cost`, and what the paper makes of measurements."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from lthdepth import __main__
from lthdepth.inference import measure
from lthdepth.model import FCRN
from lthdepth.paper import cost
from lthdepth.runs import studies


def test_amdahls_law():
    times = {"dense": (50.0, 110.0), "folded": (40.0, 100.0), "sparse": (10.0, 80.0)}
    rows = [{"name": name, "encoder": e, "network": n} for name, (e, n) in times.items()]
    sparse = cost.speeds({"rows": rows}).loc["sparse"]
    f, s = 0.4, 4.0  # the encoder's share of the folded network, and its speed-up
    assert sparse.amdahl == pytest.approx(1 / (1 - f + f / s)) and sparse.free == pytest.approx(1 / (1 - f))
    assert sparse.end_to_end == 1.25 and sparse.gain == s


def test_the_task_measures_and_writes_a_file(tmp_path, monkeypatch, capsys, narrow):
    monkeypatch.chdir(tmp_path)
    study = measure.study  # with fewer tickets and repeats
    monkeypatch.setattr(measure, "study", lambda i, b, densities, *rest: study(i, b, densities[:2], *rest, 1))
    torch.save(FCRN("resnet18").encoder.state_dict(), "w.pth")
    words = "cost --weights w.pth --size 32 32 --out cost.json --device cpu".split()
    assert __main__.main(words) == 0 == __main__.main(words)  # the second takes the place of the first
    new = measure.load(tmp_path / "cost.json")
    assert new["size"] == [32, 32]
    assert new["network"] == {"backbone": "resnet18", "weights": "w"}
    assert [t["density"] for t in new["tickets"]] == pytest.approx([0.8**18, 0.8**15], rel=0.01)
    for t in new["tickets"]:
        assert [r["name"] for r in t["rows"]] == ["dense", "folded", "sparse"]
        assert len(t["layers"]) == 21 and {way for r in t["layers"] for way in r["ms"]} > {
            "dense",
            "compiled",
        }
        assert all(r["ms"][r["chosen"]] == min(r["ms"].values()) for r in t["layers"])
        assert t["bytes"]["encoder"]["packed"] < 0.3 * t["bytes"]["encoder"]["dense"]
    assert "where Amdahl's law predicts" in capsys.readouterr().out
    for figure in (cost.layers(new), cost.speedup(new)):
        assert figure.axes
        plt.close(figure)


def test_the_paper_shows_what_was_measured_at_its_input_size():
    size = studies.SIZE["height"], studies.SIZE["width"]
    assert tuple(cost.measured(SimpleNamespace(profile="paper"))["size"]) == size
