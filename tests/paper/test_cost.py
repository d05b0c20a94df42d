"""The task `cost`, what the paper makes of its measurements, and the quick profile's own."""

import json
from functools import partial
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from lthdepth import __main__
from lthdepth.inference import measure
from lthdepth.model import FCRN
from lthdepth.paper import cost
from lthdepth.runs import studies


def ticket(encoder, network, density=0.018):
    rows = [
        {"name": "dense", "order": "NHWC", "encoder": 50.0, "network": 110.0},
        {"name": "folded", "order": "NHWC", "encoder": 40.0, "network": 100.0},
        {"name": "sparse", "order": "", "encoder": encoder, "network": network},
    ]
    return {"arm": "omp", "density": density, "rows": rows}


def test_amdahls_law():
    rows = cost.speeds(ticket(10.0, 80.0)).loc["sparse"]
    f, s = 0.4, 4.0  # the encoder's share of the folded network, and its speed-up
    assert rows.amdahl == pytest.approx(1 / (1 - f + f / s)) and rows.free == pytest.approx(1 / (1 - f))
    assert rows["network/folded"] == 1.25 and rows["encoder/dense"] == 5


def test_the_task_measures_and_adds_to_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "study", partial(measure.study, repeats=1))
    state = FCRN("resnet18").encoder.state_dict()
    torch.save(state, "w.pth")
    other = {"size": [1, 1], "tickets": [1], "network": 0, "environment": {"device": "x"}}
    (tmp_path / "cost.json").write_text(json.dumps({"measurements": [other]}), encoding="utf-8")
    words = "cost --weights w.pth --size 32 32 --levels 10 --out cost.json --device cpu --arms".split()
    assert __main__.main([*words, "omp"]) == 0 == __main__.main([*words, "random"])
    old, new = measure.load(tmp_path / "cost.json")  # another machine's stays, one's own is replaced
    assert old == other and new["tickets"][0]["arm"] == "random" and new["size"] == [32, 32]
    assert new["network"] == {"backbone": "resnet18", "weights": "w"}
    (row,) = new["tickets"]
    assert [r["name"] for r in row["rows"]] == list(measure.ALL) and len(row["layers"]) == 20
    assert all(r["difference"] <= measure.TOLERANCE for r in row["rows"][:-1])
    assert row["bytes"]["encoder"]["packed"] < 0.3 * row["bytes"]["encoder"]["dense"]
    said = capsys.readouterr().out
    assert "Amdahl" in said and "decoder pruned too" in said
    for figure in (cost.layers(new), cost.speedup(new), cost.on_disk(new)):
        assert figure.axes
        plt.close(figure)
    assert len(cost.levels(new)) == 1


@pytest.mark.parametrize(("study", "size"), [("paper", [96, 128]), ("full", [228, 304])])
def test_the_paper_shows_what_was_measured_at_its_input_size(study, size):
    assert cost.measured(SimpleNamespace(profile="paper", study=studies.study(study)))["size"] == size
