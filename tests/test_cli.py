"""The command line: help, one tiny run from end to end, and one sentence for every mistake."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision
from conftest import TINY
from PIL import Image

from lthdepth.__main__ import main
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("data", "train", "ticket", "sweep", "merge", "show", "verdict", "predict", "build", "pairs", "cost")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, with a store of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def lthdepth(*words, cwd):
    """The command in a process of its own."""
    command, environment = [sys.executable, "-m", "lthdepth", *words], os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("task", TASKS)
def test_help_of_every_task(task, capsys):
    with pytest.raises(SystemExit) as end:
        main([task, "--help"])
    assert end.value.code == 0
    assert f"lthdepth {task}" in capsys.readouterr().out


def test_general_help_names_every_task(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and all(f"\n    {task}" in text for task in TASKS)


def test_train_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    from lthdepth.config import FIELDS

    assert all(f"\n  {name}=" in text for name in FIELDS)


def settings(config):
    return [
        f"{k}={getattr(config, k)}"
        for k in ("backbone", "height", "width", "batch", "lr_encoder", "lr_decoder")
    ]


def test_a_tiny_run_from_end_to_end(elsewhere, capsys, monkeypatch):
    words = [
        "train",
        "--data",
        "rooms:24",
        "--device",
        "cpu",
        *settings(TINY),
        "epochs=1",
        "arm=random",
        "density=0.3",
    ]
    assert main(words) == 0
    line = capsys.readouterr().out.splitlines()[0]
    key = line.split()[0]
    assert "random" in line and "30.00 %" in line and "test: rel" in line
    record = json.loads((elsewhere / "runs" / key / "record.json").read_text())
    assert (
        record["config"]["epochs"] == 1 and record["config"]["optimiser"] == "adamw"
    )  # "tuned" is the start
    assert f"rms {record['test']['full']['pooled']['rms']:.3f} m" in line

    monkeypatch.setattr("lthdepth.training.fit.fit", None)  # the second time it is looked up
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[0] == line
    assert main(["show"]) == 0
    assert capsys.readouterr().out == f"{line}\n1 runs\n"
    assert main(["show", key[:6]]) == 0
    assert json.loads(capsys.readouterr().out) == record
    assert main(["show", "--study", "paper"]) == 0
    assert capsys.readouterr().out == "0 runs\n"


def test_settings_may_stand_on_both_sides_of_an_option(capsys):
    for words in (
        ["train", "epochs=1", "--data", "absent.h5", "seed=2", "--device", "cpu", "dropout=1"],
        ["train", "--data", "absent.h5", "epochs=1", "dropout=1", "--device", "cpu", "arm=omp"],
    ):
        assert main(words) == 2
        assert "unknown setting 'dropout'" in capsys.readouterr().err
    for words in (["train", "--data", "rooms:24", "--devise", "cpu"], ["data", "rooms", "more"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2


def test_data_describes_a_source_in_json(capsys):
    assert main(["data", "rooms:24"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "rooms"
    assert sum(s["frames"] for s in shown["splits"].values()) == 24


def test_frames_are_read_without_torch():
    """Which alone takes half of the memory that reading the official file may take."""
    code = "import sys; sys.modules['torch'] = None; from lthdepth.__main__ import main; "
    code += "sys.exit(main(['data', 'rooms:12']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "rooms"


def test_a_dry_sweep_trains_nothing(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(runs, "run", None)
    assert main(["sweep", "quick", "--data", "rooms:24", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 11 + 1 and all(
        "missing" in line for line in lines
    )  # 7 runs; 4 that iterative pruning needs
    assert not (elsewhere / "runs").exists()


def test_the_verdict_on_committed_runs_and_on_studies_that_have_none(capsys, monkeypatch):
    monkeypatch.setattr(runs.Store.__init__, "__defaults__", (ROOT / "no-local-runs", ROOT / "results"))
    assert main(["verdict"]) == 0
    assert f"of {len(experiments.study('paper').configs)} runs recorded" in capsys.readouterr().out
    assert main(["verdict", "pilot"]) == 0
    out = capsys.readouterr().out
    assert "decide nothing" in out and "layer-shuffled 1.80 %" in out and "*" not in out
    for name, words in (
        ("recipe", "paper, pilot or full"),
        ("postmortem", "paper, pilot or full"),
        ("pape", "unknown study"),
    ):
        assert main(["verdict", name]) == 2
        assert words in capsys.readouterr().err


# Mistakes

HTML = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
TRAIN = ["train", "--data", "rooms:24", "--device", "cpu", *settings(TINY), "epochs=1"]


def resnet18_file():
    import torchvision

    torch.save(torchvision.models.resnet18(weights=None).state_dict(), "r18.pth")


def small_mat(name):
    """An HDF5 file with one dataset, in no layout of ours."""
    with h5py.File(name, "w") as file:
        file["something"] = np.arange(100_000)


def cut_mat():
    small_mat("cut.mat")
    data = Path("cut.mat").read_bytes()
    Path("cut.mat").write_bytes(data[: len(data) // 2])


def masks_file(shape):
    torch.save({"layer1.0.conv1.weight_mask": torch.ones(shape)}, "mask.pt")


MISTAKES = {
    "no such data": (None, ["data", "absent.mat"], "absent.mat"),
    "no such cache": (None, ["train", "--data", "absent.h5"], "absent.h5"),
    "no such source": (None, ["train", "--data", "kitchen"], "kitchen"),
    "no source": (None, ["data"], "--download"),
    "too few rooms": (None, ["data", "rooms:2"], "rooms:2"),
    "a page saved as .mat": (lambda: Path("page.mat").write_bytes(HTML), ["data", "page.mat"], "page.mat"),
    "a truncated .mat": (cut_mat, ["data", "cut.mat"], "cut.mat"),
    "another layout": (lambda: small_mat("other.mat"), ["data", "other.mat"], "other.mat"),
    "another layout, cache": (lambda: small_mat("other.h5"), ["train", "--data", "other.h5"], "other.h5"),
    "no such weights": (None, [*TRAIN, "--weights", "absent.pth"], "absent.pth"),
    "weights of another network": (
        resnet18_file,
        ["train", "--data", "rooms:24", "--weights", "r18.pth", "backbone=resnet50"],
        "resnet18",
    ),
    "a page saved as weights": (
        lambda: Path("w.pth").write_bytes(HTML),
        ["train", "--data", "rooms:24", "--weights", "w.pth"],
        "w.pth",
    ),
    "no such mask": (None, [*TRAIN, "--ticket", "absent.pt"], "absent.pt"),
    "a mask that does not fit": (
        lambda: masks_file((1, 2, 3, 4)),
        [*TRAIN, "--ticket", "mask.pt"],
        "mask.pt",
    ),
    "a mask without its arm": (None, [*TRAIN, "arm=file"], "mask file"),
    "density 0": (None, [*TRAIN, "arm=omp", "density=0"], "density"),
    "density 1.5": (None, [*TRAIN, "arm=omp", "density=1.5"], "density"),
    "density nan": (None, [*TRAIN, "arm=random", "density=nan"], "density"),
    "an unknown setting": (None, [*TRAIN, "dropout=0.5"], "dropout"),
    "no setting": (None, [*TRAIN, "epochs"], "name=value"),
    "a setting that does not read": (None, [*TRAIN, "seed=one"], "seed"),
    "an unknown device": (None, ["train", "--data", "rooms:24", "--device", "gpu"], "gpu"),
    "an unknown study": (None, ["sweep", "everything", "--data", "rooms:24"], "everything"),
    "too large a batch": (None, [*TRAIN, "batch=100"], "batch"),
    "an unknown run": (None, ["show", "abcdef"], "abcdef"),
    "an unknown study to show": (None, ["show", "--study", "nope"], "nope"),
    "a download of something": (None, ["data", "--download", "rooms"], "--download takes no source"),
}


def is_one_sentence(code, err, says):
    assert code == 2
    assert err.startswith("lthdepth: ") and err.count("\n") == 1 and err.endswith("\n")
    assert says in err and "Traceback" not in err


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_sentence(case, elsewhere, capsys):
    prepare, words, says = MISTAKES[case]
    if prepare:
        prepare()
    code = main(words)
    out, err = capsys.readouterr()
    is_one_sentence(code, err, says)
    assert out == "" and not list(elsewhere.glob("runs/*/record.json"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_a_gpu_that_is_not_there(capsys):
    code = main(["train", "--data", "rooms:24", "--device", "cuda"])
    is_one_sentence(code, capsys.readouterr().err, "--device")


def test_a_damaged_store_is_told(elsewhere, capsys):
    (elsewhere / "results").mkdir()
    (elsewhere / "results" / "runs.jsonl").write_text("not json\n")
    is_one_sentence(main(["show"]), capsys.readouterr().err, "line 1")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def bug(self):
        raise ValueError("a bug")

    monkeypatch.setattr(runs.Store, "records", bug)
    with pytest.raises(ValueError, match="a bug"):
        main(["show"])


def test_the_process_ends_with_the_same_code_and_sentence(elsewhere):
    done = lthdepth("train", "--data", "absent.h5", "dropout=0.5", cwd=elsewhere)
    is_one_sentence(done.returncode, done.stderr, "dropout")


def test_the_process_without_a_task_says_how_it_is_used(elsewhere):
    done = lthdepth(cwd=elsewhere)
    assert done.returncode == 2 and done.stderr.startswith("usage: python -m lthdepth")


def test_tickets_are_drawn_shown_verified_and_converted(elsewhere, capsys):
    weights = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(weights, "r18.pth")
    assert main(["ticket", "draw", "a.npz", "--weights", "r18.pth", "--density", "0.1"]) == 0
    assert main(["ticket", "verify", "a.npz", "--weights", "r18.pth"]) == 0
    assert main(["ticket", "show", "a.npz", "--picture", "a.png"]) == 0
    text = capsys.readouterr().out
    size = sum(w.numel() for k, w in weights.items() if w.ndim == 4 and k != "conv1.weight")
    assert f"keeps {round(0.1 * size):,} of {size:,}" in text and "one-shot magnitude" in text
    assert (elsewhere / "a.png").stat().st_size > 1000
    names = [k for k, w in weights.items() if w.ndim == 4 and k != "conv1.weight"]
    torch.save(
        {
            f"{k}_mask": (torch.arange(weights[k].numel()) % 5 == 0).view(weights[k].shape).float()
            for k in names
        },
        "m.pt",
    )
    assert main(["ticket", "convert", "m.pt", "--weights", "r18.pth", "--out", "b.npz"]) == 0
    other = {k: w + 1 if w.is_floating_point() else w for k, w in weights.items()}
    torch.save(other, "other.pth")
    capsys.readouterr()
    assert main(["ticket", "verify", "a.npz", "--weights", "other.pth"]) == 2
    assert main(["ticket", "draw", "c.npz", "--weights", "r18.pth", "--arm", "imp"]) == 2
    assert main(["ticket", "convert", "m.pt"]) == 2
    assert capsys.readouterr().err.count("lthdepth: ") == 3 and not (elsewhere / "c.npz").exists()


def test_a_run_under_a_ticket_file_is_filed_with_its_density(elsewhere, capsys):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), "r18.pth")
    assert main(["ticket", "draw", "a.npz", "--weights", "r18.pth", "--density", "0.1"]) == 0
    tiny = ["height=32", "width=32", "batch=4", "epochs=1"]
    assert (
        main(
            [
                "train",
                "--data",
                "rooms:24",
                "--weights",
                "r18.pth",
                "--device",
                "cpu",
                "--ticket",
                "a.npz",
                *tiny,
            ]
        )
        == 0
    )
    record = next(iter(runs.Store().records().values()))
    assert record["arm"] == "file" and record["density"] == pytest.approx(0.1, abs=1e-6)
    assert record["density"] == record["densities"]["prunable"]


def test_no_file_of_another_kind_is_overwritten(elsewhere, capsys):
    kept = {"notes.txt": b"notes", "own.npz": b"not a ticket", "film.mat": b"<html>"}
    for name, content in kept.items():
        (elsewhere / name).write_bytes(content)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), "r18.pth")
    for words in (
        ["ticket", "draw", "notes.txt", "--weights", "r18.pth"],
        ["ticket", "draw", "own.npz", "--weights", "r18.pth"],
        ["data", "film.mat", "--out", "film.mat"],
        ["data", "rooms:24", "--out", "x.h5"],
        ["data", "rooms:24", "--record"],
    ):
        assert main(words) == 2, words
    assert capsys.readouterr().err.count("lthdepth: ") == 5
    assert all((elsewhere / name).read_bytes() == content for name, content in kept.items())


def test_a_converted_mask_claims_no_weights_that_it_does_not_know_and_a_ticket_keeps_its_own(
    elsewhere, capsys
):
    from lthdepth import ticketfile, tickets

    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, "r18.pth")
    weights = {k: w for k, w in state.items() if w.ndim == 4 and k != "conv1.weight"}
    torch.save({f"{k}_mask": torch.ones(w.shape) for k, w in weights.items()}, "m.pt")
    ticketfile.save(tickets.magnitude(weights, 0.5), elsewhere / "own.npz", "resnet18", "feedfeedfeedfeed")
    assert main(["ticket", "convert", "own.npz", "--weights", "r18.pth", "--out", "a.npz"]) == 0
    assert "from weights feedfeedfeedfeed\n" in capsys.readouterr().out
    assert ticketfile.origin("m.pt") == "" and ticketfile.origin("own.npz") == "feedfeedfeedfeed"


def test_a_ticket_with_an_empty_layer_is_shown_and_drawn_as_such(elsewhere, capsys):
    state = torchvision.models.resnet18(weights=None).state_dict()
    masks = {
        f"{k}_mask": torch.ones(w.shape) for k, w in state.items() if w.ndim == 4 and k != "conv1.weight"
    }
    masks["layer4.0.downsample.0.weight_mask"].zero_()
    torch.save(masks, "m.pt")
    torch.save(state, "r18.pth")
    assert main(["ticket", "convert", "m.pt", "--weights", "r18.pth", "--out", "a.npz"]) == 0
    assert main(["ticket", "show", "a.npz", "--picture", "a.png"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "(empty)" in line][
        -1
    ] == "layer4.0.downsample.0.weight"
    assert (elsewhere / "a.png").stat().st_size > 1000


def test_a_ticket_on_logits_is_drawn_from_photos_and_its_mistakes_get_a_sentence(elsewhere, capsys):
    net = torchvision.models.resnet18(weights=None)
    torch.save({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}, "headless.pth")
    torch.save(net.state_dict(), "r18.pth")
    (elsewhere / "photos").mkdir()
    for i in range(2):
        Image.fromarray(np.full((40, 60, 3), 90 * i + 50, np.uint8)).save(f"photos/{i}.png")
    logits = [
        "ticket",
        "draw",
        "t.npz",
        "--arm",
        "logits",
        "--density",
        "0.8",
        "--round-epochs",
        "1",
        "--device",
        "cpu",
    ]
    for words in (
        [*logits, "--weights", "headless.pth", "--photos", "photos"],
        [*logits, "--weights", "r18.pth"],
        [*logits, "--weights", "r18.pth", "--photos", "absent"],
        [*logits, "--weights", "r18.pth", "--photos", "photos", "--density", "0.5"],
        ["ticket", "draw", "t.npz", "--weights", "r18.pth", "--density", "1e-9"],
        ["ticket", "levels", "t.json"],
    ):
        assert main(words) == 2, words
    assert (
        sum("lthdepth: " in line for line in capsys.readouterr().err.splitlines()) == 6
        and not (elsewhere / "t.npz").exists()
    )
    words = [*logits, "--weights", "r18.pth", "--photos", "photos"]
    assert main(words) == 0
    assert "magnitude after matching logits" in capsys.readouterr().out and list(
        elsewhere.glob("runs/logits-*/mask-1.npz")
    )


def test_a_terminal_that_lacks_a_letter_is_no_reason_to_stop(elsewhere):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [
        sys.executable,
        "-m",
        "lthdepth",
        "train",
        "--help",
    ]  # which names Erdős and Rényi, or a ², or …
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    command[3:] = ["data", "nö.h5"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, env=environment, check=False)
    assert (
        done.returncode == 2
        and b"n?.h5" in done.stderr.replace(b"\\xf6", b"?")
        and b"Traceback" not in done.stderr
    )
