"""Initial weights: known files, and any container and layout that people have them in."""

import argparse
import lzma
from pathlib import Path
from unittest.mock import Mock
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lthdepth.data import weights
from lthdepth.errors import UserError

CLASSIFIER = {"fc.weight": torch.ones(7, 64), "fc.bias": torch.zeros(7)}


def test_real_files_are_known_by_their_content(shared, pqf, tmp_path):
    path = tmp_path / "renamed.pth.xz"
    path.symlink_to(shared("weights/resnet50_imagenet1k_ktb.pth.xz"))
    for initial, name in ((pqf, "pqf"), (weights.load(path), "ktb")):
        assert (initial.name, initial.backbone) == (name, "resnet50")
        assert "ImageNet" in initial.description and "%" in initial.description
        missing, unexpected = torchvision.models.resnet50().load_state_dict(initial.state, strict=False)
        assert not unexpected and set(missing) == {"fc.weight", "fc.bias"}


def same(initial, state):
    """These weights, in torchvision's order, on which a ticket depends where weights tie."""
    assert initial.fingerprint == weights.fingerprint(state) and initial.backbone == "resnet18"
    assert list(initial.state) == list(state)
    assert all(torch.equal(v, state[k]) for k, v in initial.state.items())


def test_every_container_gives_the_same_weights(narrow_state, tmp_path):
    state = {k: v.contiguous() for k, v in reversed((narrow_state | CLASSIFIER).items())}
    torch.save(state, tmp_path / "a.pth")
    (tmp_path / "B.PTH.XZ").write_bytes(lzma.compress((tmp_path / "a.pth").read_bytes(), preset=0))
    torch.save(state, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "D.SAFETENSORS")
    for name in ("a.pth", "B.PTH.XZ", "c.pt", "D.SAFETENSORS"):
        same(weights.load(tmp_path / name), narrow_state)


def one_sentence(*args, match):
    with pytest.raises(UserError, match=match) as error:
        weights.load(*args)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_weights_of_torchvision_by_name(monkeypatch, narrow_state):
    seen = {}

    def fetch(url, **options):
        seen.update(options, url=url)
        return narrow_state | {"fc.weight": torch.ones(1000, 64)}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    initial = weights.load("IMAGENET1K_V1", "resnet18")
    assert "resnet18" in seen["url"] and seen["check_hash"] and "69.758" in initial.description
    same(initial, narrow_state)
    one_sentence("IMAGENET1K_V2", "resnet18", match="for resnet18")  # there is only a first version


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("invalid hash value")])
def test_a_download_that_fails(monkeypatch, error):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", Mock(side_effect=error))
    assert "https://" in one_sentence("IMAGENET1K_V1", "resnet18", match="could not download")


# As people have them


def hugging_face(state):
    """The names that transformers gives the same network."""
    theirs = {}
    for key, value in state.items():
        words = key.split(".")
        if words[0] == "fc":
            theirs[f"classifier.1.{words[1]}"] = value
            continue
        kind = "convolution" if "conv" in key or "downsample.0" in key else "normalization"
        place = "embedder.embedder."
        if words[0].startswith("layer"):
            place = f"encoder.stages.{int(words[0][5:]) - 1}.layers.{words[1]}."
            place += "shortcut." if words[2] == "downsample" else f"layer.{int(words[2][-1]) - 1}."
        theirs[f"resnet.{place}{kind}.{words[-1]}"] = value
    return theirs


def behind(prefix, state):
    return {prefix + k: v for k, v in state.items()}


HEAD = {"fc.0.weight": torch.ones(5, 5), "fc.2.weight": torch.ones(5, 5)}
RUN = {"epoch": 90, "optimizer": {}, "args": argparse.Namespace(lr=0.1)}
AS_PEOPLE_HAVE_THEM = {  # whose: what their files hold for a plain state dict
    "torchvision's training": lambda s: RUN | {"model": s},
    "pytorch/examples": lambda s: RUN | {"arch": "resnet18", "state_dict": behind("module.", s)},
    "a score in numpy, a path": lambda s: {"state_dict": s, "best": np.float64(7), "out": Path("a")},
    "a depth network": lambda s: {
        "state_dict": s | {"conv2.weight": torch.ones(3, 3), "up.bias": torch.ones(2)}
    },
    "detection": lambda s: {"model": behind("backbone.0.body.", s) | {"class_embed.weight": torch.ones(3)}},
    "timm": lambda s: RUN | {"state_dict": s, "state_dict_ema": {k: v + 1 for k, v in s.items()}},
    "Lightning": lambda s: {"state_dict": behind("model.", s), "hyper_parameters": {"lr": 0.1}, "loops": {}},
    "MoCo": lambda s: {
        "state_dict": behind("module.encoder_q.", s | HEAD) | behind("module.encoder_k.", HEAD)
    },
    "DINO": lambda s: {"student": behind("module.backbone.", s), "teacher": behind("backbone.", s)},
    "Hugging Face": lambda s: hugging_face(s | CLASSIFIER),
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "after some batches": lambda s: {k: v + 7 if "num_batches" in k else v for k, v in s.items()},
    "bfloat16": lambda s: {k: v.to(torch.bfloat16) if v.ndim == 4 else v for k, v in s.items()},
    "sparse": lambda s: {k: v.to_sparse() if v.ndim == 4 else v for k, v in s.items()},
}
SILENT = ("without counters", "after some batches", "bfloat16", "sparse")


@pytest.mark.parametrize("case", AS_PEOPLE_HAVE_THEM)
def test_weights_as_people_have_them_are_the_same_weights(case, narrow_state, tmp_path, capsys):
    path = tmp_path / "ours é" / "w.pth"  # names with blanks and accents too
    path.parent.mkdir()
    torch.save(AS_PEOPLE_HAVE_THEM[case](narrow_state), path)
    same(weights.load(path), narrow_state)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == (case not in SILENT)


def test_whole_networks_are_not_run(narrow_state, tmp_path, recwarn):
    net = torchvision.models.get_model("resnet18")
    torch.save({"epoch": 3, "model": net}, tmp_path / "fast-depth.pth.tar")  # as fast-depth's scripts do
    torch.jit.trace(net.eval(), torch.zeros(1, 3, 32, 32)).save(str(tmp_path / "scripted.pt"))
    np.savez(tmp_path / "arrays.npz", **narrow_state)
    recwarn.clear()
    for name in ("fast-depth.pth.tar", "scripted.pt", "arrays.npz"):
        one_sentence(tmp_path / name, match="nothing in it was run; save a state dict")
    assert not recwarn.list  # torch would say that it runs the script
