"""Initial weights: known files, and any container and layout that people have them in."""

import argparse
import lzma
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lthdepth.data import weights
from lthdepth.errors import UserError


@pytest.mark.parametrize("name", ["pqf", "ktb"])
def test_real_files_are_known_by_their_content(shared, name, tmp_path):
    path = tmp_path / "renamed.pth.xz"
    path.symlink_to(shared(f"weights/resnet50_imagenet1k_{name}.pth.xz"))
    found = weights.load(path)
    assert (found.name, found.backbone) == (name, "resnet50")
    assert "ImageNet" in found.description and "%" in found.description
    resnet = torchvision.models.resnet50(weights=None)
    missing, unexpected = resnet.load_state_dict(found.state, strict=False)
    assert not unexpected and set(missing) == {"fc.weight", "fc.bias"}
    assert found.summary() == {
        "name": name,
        "description": found.description,
        "fingerprint": found.fingerprint,
    }


def test_every_container_gives_the_same_weights(resnet18_state, tmp_path):
    """Whatever their order: where weights tie, a ticket depends on it; it is torchvision's."""
    state = resnet18_state | {"fc.weight": torch.ones(7, 512), "fc.bias": torch.zeros(7)}
    state = {k: v.contiguous() for k, v in reversed(state.items())}
    torch.save(state, tmp_path / "a.pth")
    (tmp_path / "B.PTH.XZ").write_bytes(lzma.compress((tmp_path / "a.pth").read_bytes(), preset=0))
    torch.save(state, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "D.SAFETENSORS")
    for name in ("a.pth", "B.PTH.XZ", "c.pt", "D.SAFETENSORS"):
        found = weights.load(tmp_path / name)
        assert found.fingerprint == weights.fingerprint(resnet18_state) and found.backbone == "resnet18"
        assert list(found.state) == list(resnet18_state)
        assert all(torch.equal(v, resnet18_state[k]) for k, v in found.state.items())
        assert torch.equal(found.classifier["fc.weight"], state["fc.weight"])


def test_fingerprint_changes_with_one_value_and_with_a_name(resnet18_state):
    marks = {weights.fingerprint(resnet18_state)}
    changed = {k: v.clone() for k, v in resnet18_state.items()}
    changed["layer4.1.bn2.running_mean"][511] += 1e-6
    marks.add(weights.fingerprint(changed))
    renamed = {("x" + k if k == "bn1.bias" else k): v for k, v in resnet18_state.items()}
    marks.add(weights.fingerprint(renamed))
    assert len(marks) == 3


@pytest.mark.parametrize("source", [None, "none"])
def test_none_is_a_random_encoder(source):
    found = weights.load(source)
    assert found.state is None and found.fingerprint == "none" and found.backbone is None


def one_sentence(path, *args, match=None):
    with pytest.raises(UserError, match=match) as error:
        weights.load(path, *args)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_a_state_dict_must_fit_exactly(resnet18_state, tmp_path, change):
    state = dict(resnet18_state)
    if change == "missing":
        del state["layer3.1.conv2.weight"]
    if change == "extra":
        state["layer5.0.conv1.weight"] = torch.ones(1)
    if change == "shape":
        state["layer1.0.conv1.weight"] = torch.ones(64, 64, 1, 1)
    torch.save(state, tmp_path / "w.pth")
    one_sentence(tmp_path / "w.pth", match="w.pth does not fit")


def test_an_unknown_name_of_torchvision():
    assert "IMAGENET1K_V2" in one_sentence("IMAGENET1K_V9", match="no weights IMAGENET1K_V9 for resnet50")
    one_sentence("IMAGENET1K_V2", "resnet18", match="for resnet18")  # there is only a first version


@pytest.mark.parametrize(
    "error",
    [
        URLError("no route to host"),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "f37072fd")'),
    ],
)
def test_a_download_that_fails(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    text = one_sentence("IMAGENET1K_V1", "resnet18", match="could not download")
    assert "https://" in text


def test_torchvisions_own_weights(monkeypatch, resnet18_state):
    seen = {}

    def fetch(url, **options):
        seen.update(options, url=url)
        return resnet18_state | {"fc.weight": torch.ones(1000, 512)}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    found = weights.load("IMAGENET1K_V1", "resnet18")
    assert "resnet18" in seen["url"] and seen["check_hash"]
    assert found.backbone == "resnet18" and "69.758" in found.description
    assert found.fingerprint == weights.fingerprint(resnet18_state)


# As people have them


def hugging_face(state):
    """The names that transformers gives the same network."""
    found = {}
    for key, value in state.items():
        words = key.split(".")
        if words[0] == "fc":
            found[f"classifier.1.{words[1]}"] = value
            continue
        if words[0].startswith("layer"):
            place = f"encoder.stages.{int(words[0][5:]) - 1}.layers.{words[1]}."
            kind = ("shortcut." if words[2] == "downsample" else f"layer.{int(words[2][-1]) - 1}.") + (
                "convolution" if "conv" in words[2] or words[2:4] == ["downsample", "0"] else "normalization"
            )
        else:
            place, kind = "embedder.embedder.", "convolution" if words[0] == "conv1" else "normalization"
        found[f"resnet.{place}{kind}.{words[-1]}"] = value
    return found


def behind(prefix, state):
    return {prefix + k: v for k, v in state.items()}


HEAD = {"fc.0.weight": torch.ones(5, 5), "fc.2.weight": torch.ones(5, 5)}
AS_PEOPLE_HAVE_THEM = {
    "torchvision's training": lambda s: {"model": s, "optimizer": {}, "args": argparse.Namespace(lr=0.1)},
    "pytorch/examples": lambda s: {"epoch": 90, "arch": "resnet18", "state_dict": behind("module.", s)},
    "timm": lambda s: {
        "arch": "resnet18",
        "state_dict": s,
        "state_dict_ema": {k: v + 1 for k, v in s.items()},
    },
    "Lightning": lambda s: {"state_dict": behind("model.", s), "hyper_parameters": {"lr": 0.1}, "loops": {}},
    "Lightning, net": lambda s: {"state_dict": behind("net.", s)},
    "MoCo": lambda s: {
        "state_dict": behind("module.encoder_q.", s | HEAD) | behind("module.encoder_k.", HEAD)
    },
    "SwAV": lambda s: behind("module.", s) | {"module.projection_head.0.weight": torch.ones(3)},
    "DINO": lambda s: {"student": behind("module.backbone.", s), "teacher": behind("backbone.", s)},
    "compiled": lambda s: behind("_orig_mod.module.", s),
    "a segmentation network": lambda s: behind("backbone.", s) | {"classifier.0.weight": torch.ones(3)},
    "Hugging Face": hugging_face,
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "after some batches": lambda s: {k: v + 7 if "num_batches" in k else v for k, v in s.items()},
    "half": lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    "convolutions in bfloat16": lambda s: {k: v.bfloat16() if v.ndim == 4 else v for k, v in s.items()},
    "sparse": lambda s: {k: v.to_sparse() if v.ndim == 4 else v for k, v in s.items()},
}


@pytest.mark.parametrize("case", AS_PEOPLE_HAVE_THEM)
def test_weights_as_people_have_them_are_the_same_weights(case, resnet18_state, tmp_path, capsys):
    path = tmp_path / ("w.safetensors" if case == "Hugging Face" else "w.pth")
    head = {"fc.weight": torch.ones(7, 512), "fc.bias": torch.zeros(7)} if case == "Hugging Face" else {}
    content = AS_PEOPLE_HAVE_THEM[case](resnet18_state | head)
    (save_file if case == "Hugging Face" else torch.save)(content, path)
    found = weights.load(path)
    assert found.fingerprint == weights.fingerprint(resnet18_state) and found.backbone == "resnet18"
    assert list(found.state) == list(resnet18_state)
    assert all(torch.equal(v, resnet18_state[k]) for k, v in found.state.items())
    assert (found.classifier is not None) == (case == "Hugging Face")
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == (case not in ("without counters", "after some batches", "sparse"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: (v * 90).to(torch.int8), "layer1.0.conv1.weight as int8"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "as qint8"),
        (lambda v: v.to(torch.complex64), "as complex64"),
        (lambda v: v.to("meta"), "without values"),
    ],
)
def test_one_layer_that_is_no_float_tensor_is_refused(change, says, resnet18_state, tmp_path):
    name = "layer1.0.conv1.weight"
    torch.save(resnet18_state | {name: change(resnet18_state[name])}, tmp_path / "w.pth")
    one_sentence(tmp_path / "w.pth", match=says)
