"""Initial weights: known files, any container, and every way a file can be wrong."""

import lzma
import pickle
from urllib.error import URLError

import pytest
import torch
import torchvision
from conftest import Evil
from safetensors.torch import save_file

from lthdepth import files
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
    state = resnet18_state | {"fc.weight": torch.ones(7, 512), "fc.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "a.pth")
    torch.save({"epoch": 3, "state_dict": dict(reversed(state.items()))}, tmp_path / "b.pt")
    (tmp_path / "c.pth.xz").write_bytes(lzma.compress((tmp_path / "a.pth").read_bytes(), preset=0))
    save_file(state, tmp_path / "d.safetensors")
    found = [weights.load(tmp_path / n) for n in ("a.pth", "b.pt", "c.pth.xz", "d.safetensors")]
    assert len({f.fingerprint for f in found}) == 1
    for f in found:
        assert f.backbone == "resnet18" and f.state.keys() == resnet18_state.keys()
        assert all(torch.equal(f.state[k], v) for k, v in resnet18_state.items())


def test_half_precision_files_become_float32(resnet18_state, tmp_path):
    torch.save(
        {k: v.half() if v.is_floating_point() else v for k, v in resnet18_state.items()}, tmp_path / "h.pth"
    )
    torch.save(resnet18_state, tmp_path / "f.pth")
    half, full = weights.load(tmp_path / "h.pth"), weights.load(tmp_path / "f.pth")
    assert half.state["conv1.weight"].dtype == torch.float32
    assert half.fingerprint == full.fingerprint  # the values of this fixture are exact in half precision


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


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_the_architecture_is_recognised(backbone):
    with torch.device("meta"):
        state = torchvision.models.get_model(backbone, weights=None).state_dict()
    assert weights._architecture({k: v for k, v in state.items() if not k.startswith("fc.")}) == backbone


def one_sentence(path, *args, match=None):
    with pytest.raises(UserError, match=match) as error:
        weights.load(path, *args)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_weights_of_another_architecture(resnet18_state, tmp_path):
    torch.save(resnet18_state, tmp_path / "r18.pth")
    one_sentence(tmp_path / "r18.pth", "resnet50", match="holds a resnet18, but the backbone is resnet50")
    with torch.device("meta"):
        vgg = torchvision.models.alexnet(weights=None).state_dict()
    torch.save({k: torch.zeros(v.shape[:1]) for k, v in vgg.items()}, tmp_path / "alexnet.pth")
    one_sentence(tmp_path / "alexnet.pth", match="does not fit")


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "prefixed"])
def test_a_state_dict_must_fit_exactly(resnet18_state, tmp_path, change):
    state = dict(resnet18_state)
    if change == "missing":
        del state["layer3.1.conv2.weight"]
    if change == "extra":
        state["layer5.0.conv1.weight"] = torch.ones(1)
    if change == "shape":
        state["layer1.0.conv1.weight"] = torch.ones(64, 64, 1, 1)
    if change == "prefixed":
        state = {"module." + k: v for k, v in state.items()}
    torch.save(state, tmp_path / "w.pth")
    one_sentence(tmp_path / "w.pth", match="w.pth does not fit")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(resnet18_state, tmp_path, value):
    state = resnet18_state | {"bn1.bias": torch.full((64,), value)}
    torch.save(state, tmp_path / "w.pth")
    one_sentence(tmp_path / "w.pth", match="not finite")


@pytest.mark.parametrize(
    "content", [{}, [1, 2], {"a": 1}, torch.ones(2), {"state_dict": 3}, {0: torch.ones(2)}]
)
def test_what_is_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    one_sentence(tmp_path / "w.pth", match="w.pth")


def test_damaged_files(resnet18_state, tmp_path):
    torch.save({"conv1.weight": resnet18_state["conv1.weight"]}, tmp_path / "good.pth")
    good = (tmp_path / "good.pth").read_bytes()
    packed = lzma.compress(good)
    html = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
    cases = {
        "empty.pth": b"",
        "page.pth": html,
        "cut.pth": good[: len(good) // 2],
        "empty.pth.xz": b"",
        "page.pth.xz": html,
        "cut.pth.xz": packed[: len(packed) // 2],
        "packed_page.xz": lzma.compress(html),
        "empty.safetensors": b"",
        "page.safetensors": html,
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        one_sentence(tmp_path / name, match=name)
    assert "web page" in one_sentence(tmp_path / "page.pth", match="page.pth")
    one_sentence(tmp_path / "absent.pth", match="no weights file")
    one_sentence(tmp_path, match="no weights file")


def test_a_pickle_that_would_run_a_command_does_not(tmp_path):
    flag = tmp_path / "ran"
    torch.save({"conv1.weight": Evil(flag)}, tmp_path / "zip.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil(flag)))
    (tmp_path / "packed.pth.xz").write_bytes(lzma.compress((tmp_path / "zip.pth").read_bytes()))
    for name in ("zip.pth", "raw.pth", "packed.pth.xz"):
        one_sentence(tmp_path / name, match=name)
        assert not flag.exists()


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    (tmp_path / "bomb.pth.xz").write_bytes(lzma.compress(bytes(2**20)))
    monkeypatch.setattr(weights, "LARGEST", 2**19)
    one_sentence(tmp_path / "bomb.pth.xz", match="unpacks to more than")


def test_a_packed_file_that_asks_for_too_much_memory(tmp_path, monkeypatch):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**26}]
    (tmp_path / "greedy.pth.xz").write_bytes(lzma.compress(b"small", filters=filters))
    monkeypatch.setattr(weights, "MEMORY", 2**24)
    one_sentence(tmp_path / "greedy.pth.xz", match="greedy.pth.xz")


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.writestr("archive/data/0", bytes(2**24))
    assert (tmp_path / "bomb.pth").stat().st_size < 10**5
    monkeypatch.setattr(files, "LARGEST", 2**23)
    one_sentence(tmp_path / "bomb.pth", match="unpacks to more than 8 MiB")


def test_upper_case_suffixes_are_the_same_kind(resnet18_state, tmp_path):
    from safetensors.torch import save

    (tmp_path / "A.PTH.XZ").write_bytes(lzma.compress(files.sealed(resnet18_state), preset=0))
    (tmp_path / "B.SAFETENSORS").write_bytes(save(resnet18_state))
    assert (
        weights.load(tmp_path / "A.PTH.XZ").fingerprint
        == weights.load(tmp_path / "B.SAFETENSORS").fingerprint
    )


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


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_the_order_in_a_file_does_not_matter(name, resnet18_state, tmp_path):
    """Where weights tie, a ticket depends on it; it is torchvision's."""
    other = {k: v.contiguous() for k, v in reversed(resnet18_state.items())}
    (save_file if name.endswith("s") else torch.save)(other, tmp_path / name)
    found = weights.load(tmp_path / name)
    assert list(found.state) == list(resnet18_state) and found.fingerprint == weights.fingerprint(
        resnet18_state
    )
