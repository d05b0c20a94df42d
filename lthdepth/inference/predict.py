"""Depth of a photo of one's own, by the network of a finished run, and what to think of it."""

import math
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from .. import mask, tickets
from ..config import Config
from ..data import rooms
from ..data.augment import Views
from ..data.frames import Frames
from ..data.photos import FORMATS
from ..errors import UserError
from ..files import read_tensors, replacing
from ..model import FCRN
from ..paper import provenance
from ..paper.plots import DEPTH
from ..runs.run import Store, key, label
from ..training import fit as train
from ..training.step import place, prepare

LONGEST = 3  # times as wide as high, or the reverse: of a panorama the network makes nothing
SAME = 0.02  # relative difference of width/height below which a photo has the shape of the training frames
VIEW = round(
    math.degrees(2 * math.atan(0.5 / rooms.FOCAL))
)  # degrees from left to right: NYU Depth V2's camera, and the rooms'

# What the data sets of the paper are, by name: what a prediction is worth depends on it.
TRAINED_ON = {
    "rooms": (
        "{n} drawings of synthetic rooms",
        "It has never seen a photo: take its depth as a demonstration, not as a measurement.",
    ),
    "nyu": (
        "{n} indoor photos of NYU Depth V2",
        f"Its metres hold for rooms seen by a camera like that one ({VIEW}° from left to right); "
        "outdoors, through another lens or of a close-up they are a guess.",
    ),
}


def network(name, store=None, device="cpu"):
    """The record of a finished run and its trained network.

    Args:
        name: key of the run; its beginning is enough.
        store: `runs.Store`; device: torch device.

    Returns:
        `(record, FCRN in evaluation mode)`.

    Raises:
        UserError: no such run, a run without a network, or one of which only the record is here.
    """
    store = store or Store()
    record = store.get(name)
    if record is None:
        raise UserError(f"no run {name}; `python -m lthdepth show` lists them.")
    if record["arm"] == "floor":
        raise UserError(
            f"the run {record['key']} is the mean depth map: it looks at no photo; name the run of a network."
        )
    path = store.local / record["key"] / "weights.pt"
    if not path.exists():
        near = ", ".join(sorted(p.parent.name for p in store.local.glob("*/weights.pt"))) or "none"
        raise UserError(
            f"of the run {record['key']} only the record is here, not its trained weights; `{provenance.command(record)} --keep` "
            f"trains it again ({_time(record['seconds'])} on {record['device']}). Runs with weights here: {near}."
        )
    prepare(torch.device(device))
    model = FCRN(record["config"]["backbone"])
    try:
        model.load_state_dict(read_tensors(path))
    except (RuntimeError, AttributeError, TypeError):
        raise UserError(
            f"{path} does not fit the network of its run; remove the folder, and the run is made again."
        ) from None
    return record, place(model, torch.device(device)).eval()


def nearest(store, density):
    """Key of the run whose weights are here and whose density is nearest to one; None where there is none.

    Of equals the one that was not trained on rooms, then the one with the smallest test rms.
    """

    def order(r):
        rms = r["test"]["full"]["pooled"]["rms"] if r["test"] else math.inf
        return abs(math.log(r["density"] / density)), r["data"]["name"] == "rooms", rms

    found = [r for name, r in store.records().items() if (store.local / name / "weights.pt").exists()]
    return min(found, key=order)["key"] if found else None


def show(desk, density=1.0, path=None, cut=1.0):
    """Display the depth of a photo by the network here that is nearest to a density. For trying out, in JupyterLab.

    Args:
        desk: `desk.Desk`; density: kept fraction of the network's weights.
        path: of the photo; None: a test frame of the desk's data.
        cut: keep only this fraction of the trained network's prunable weights, the largest, without training it further.

    Raises:
        UserError: as `photo`; a density outside (0, 1].
    """
    for value in (density, cut):
        if not 0 < value <= 1:
            raise UserError(f"a density is in (0, 1], a fraction of the weights; got {value}.")
    name = nearest(desk.store, density)
    if name is None:
        return display(
            Markdown("*No trained network is here yet.* `./build.sh --profile quick` trains some in minutes.")
        )
    record, model = network(name, desk.store, desk.device)
    rgb = photo(path) if path else desk.summary().rgb[0]
    note = ""
    if cut < 1:
        mask.Masking(tickets.magnitude(mask.prunable(model.encoder.state_dict()), cut), model.encoder)
        note = f" Cut to {100 * cut:.3g} % of its prunable weights, and not trained since."
    figure = picture(rgb, depth(rgb, record, model, desk.device), record, note)
    display(Markdown(about(record, rgb, desk.store) + note), figure)
    plt.close(figure)


def photo(path):
    """A photo as people see it, turned as its EXIF orientation says: uint8 (H, W, 3).

    Raises:
        UserError: no such file, no picture, or one that is too long for the network.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no photo {path}: check its name and folder.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # a big photo is no attack; the limit stays
            with Image.open(path, formats=FORMATS) as image:
                rgb = np.asarray(_eight_bits(ImageOps.exif_transpose(image)).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        wanted = "give a whole .jpg or .png of less than 178 million pixels"
        raise UserError(f"{path} cannot be decoded as a photo: {wanted}.") from None
    height, width = rgb.shape[:2]
    if max(height, width) > LONGEST * min(height, width):
        raise UserError(
            f"{path} is {width}×{height} pixels: cut it to less than {LONGEST} times as long as short."
        )
    return rgb


def _eight_bits(image):
    """A grey picture of 16 bits a pixel as one of 8; Pillow would cut everything above 255 to white. Any other as it is."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))


def seen(rgb, config):
    """Height and width at which the network sees a photo.

    That of training for a photo of the training frames' shape. Another is neither stretched nor cut: it is seen at its own
    shape, with about as many pixels.

    Args:
        rgb: (H, W, 3); config: `Config`.
    """
    aspect = rgb.shape[1] / rgb.shape[0]
    if abs(aspect * config.height / config.width - 1) < SAME:
        return config.height, config.width
    height = math.sqrt(config.height * config.width / aspect)
    return max(32, round(height)), max(32, round(height * aspect))


def depth(rgb, record, model, device="cpu"):
    """Depth of a photo in metres, float32 (H, W), the photo's size.

    What `train.evaluate` does to a test frame: the photo is brought to the size of the training frames, then to the network's.

    Args:
        rgb: uint8 (H, W, 3); record, model: of `network`; device: where the model is.
    """
    config = Config(**record["config"])
    height, width = seen(rgb, config)
    scale = record["data"]["height"] / config.height
    small = Image.fromarray(rgb).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    small = np.array(small).transpose(2, 0, 1)[None]
    frame = Frames(
        small, np.zeros((1, *small.shape[2:]), np.float32), np.array(["test"]), np.array(["photo"]), "photo"
    )
    views = Views(frame, height, width, torch.device(device), config.normalise, config.crop)
    ((_, found),) = train.predict(model, views, np.array([0]), config, rgb.shape[:2])
    return found[0].cpu().numpy()


def about(record, rgb=None, store=None):
    """What a network was trained on, how well it does there, and what follows for a photo: a few plain sentences.

    Args:
        record: of `network`; rgb: the photo (H, W, 3); store: `runs.Store`, for the mean depth map under the same protocol.
    """
    config, data = record["config"], record["data"]["name"]
    made, worth = TRAINED_ON.get(
        data, (f"{{n}} frames of {data}", "On photos of another kind its metres are a guess.")
    )
    steps = record["epochs_run"] * (record["fit_frames"] // config["batch"])
    text = (
        f"The network ({label(record)}, {config['backbone']}) was trained on {made.format(n=record['fit_frames'])} "
        f"at {config['width']}×{config['height']} pixels for {steps:,} steps."
    )
    if split := next((s for s in ("test", "validation") if record[s]), None):
        s = record[split]["full"]["pooled"]
        text += f" On {record[split]['frames']} {split} frames of that kind its rms is {s['rms']:.2f} m, "
        text += f"rel {s['rel']:.2f}, δ1 {s['delta1']:.2f}"
        floor = (store or Store()).get(key(Config(**config).floor(), record["data"]["fingerprint"], ""))
        known = floor and floor[split]
        text += (
            f"; the mean depth map, which looks at no picture, has rms {known['full']['pooled']['rms']:.2f} m."
            if known
            else "."
        )
    text += f" {worth}"
    if rgb is not None and (size := seen(rgb, Config(**config))) != (config["height"], config["width"]):
        text += " The photo has another shape than the training frames; it was seen whole and unstretched, "
        text += f"at {size[1]}×{size[0]} pixels."
    return text


def picture(rgb, metres, record, note=""):
    """The photo beside its depth, one colour bar in metres, and what the network was trained on; `note` follows it."""
    step = max(1, max(rgb.shape) // 1200)
    ratio = rgb.shape[1] / rgb.shape[0]
    width = min(10, 8 * ratio)  # inches, of both pictures
    figure, axes = plt.subplots(1, 2, figsize=(width + 0.9, width / 2 / ratio + 0.9), layout="constrained")
    axes[0].imshow(rgb[::step, ::step])
    image = axes[1].imshow(
        metres[::step, ::step], cmap=DEPTH, vmin=0, vmax=float(np.percentile(metres, 99.5))
    )
    for ax in axes:
        ax.set_axis_off()
    figure.colorbar(image, ax=axes[1], label="depth (m)", shrink=0.85)
    made, _ = TRAINED_ON.get(record["data"]["name"], (f"{{n}} frames of {record['data']['name']}", ""))
    words = f"Predicted by run {record['key']}, trained on {made.format(n=record['fit_frames'])}.{note}"
    figure.supxlabel(words, fontsize=8, color="0.35")
    return figure


def save(path, rgb, metres, record, folder, words=""):
    """Write `NAME_depth_KEY.png`, 16 bits a pixel, millimetres, and `NAME_picture_KEY.png`; returns the two paths.

    Depth is cut to 1 … 65535 mm: in such files 0 means that nothing was measured.

    Args:
        path: of the photo; rgb, metres, record: of `photo`, `depth`, `network`; folder: where to;
        words: put inside both files, as `about`.

    Raises:
        UserError: it cannot be written.
    """
    stem, mark = re.sub(r"\s+", "_", Path(path).stem), record["key"][:8]
    files = [Path(folder) / f"{stem}_{kind}_{mark}.png" for kind in ("depth", "picture")]
    millimetres = np.rint(1000 * metres).clip(1, 65535).astype(np.uint16)
    info, words = (
        PngInfo(),
        f"Depth predicted by run {record['key']} of lthdepth; the 16-bit file is in millimetres. {words}",
    )
    info.add_itxt("Description", words)
    with replacing(files[0]) as part:
        Image.fromarray(millimetres).save(part, "PNG", pnginfo=info)
    figure = picture(rgb, metres, record)
    with replacing(files[1]) as part:
        figure.savefig(part, format="png", dpi=160, metadata={"Description": words})
    plt.close(figure)
    return files


def _time(seconds):
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
