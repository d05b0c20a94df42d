"""Depth of a photo of one's own, by the network of a finished run, and what to think of it."""

import hashlib
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..data import photos, rooms
from ..data.augment import Views
from ..data.frames import Frames
from ..errors import UserError
from ..files import read_tensors, replacing
from ..model import FCRN
from ..runs.record import command
from ..runs.run import Store, key, label
from ..training import evaluate
from ..training.step import place, prepare

LONGEST = 3  # times as wide as high, or the reverse: of a panorama the network makes nothing
VIEW = round(math.degrees(2 * math.atan(0.5 / rooms.FOCAL)))  # degrees across, of the rooms and NYU's camera

TRAINED_ON = {  # what the data sets of the paper are, and what that makes of a prediction's metres
    "rooms": (
        "drawings of synthetic rooms",
        "It has never seen a photo: take its depth as a demonstration, not as a measurement.",
    ),
    "nyu": (
        "indoor photos of NYU Depth V2",
        f"Its metres hold for rooms seen by a camera like that one ({VIEW}° from left to right); "
        "outdoors, through another lens or of a close-up they are a guess.",
    ),
}


def photo(path):
    """A photo as people see it, uint8 (H, W, 3). Raises UserError as `photos.read`, or for a panorama."""
    rgb = photos.read(path)
    height, width = rgb.shape[:2]
    if max(height, width) > LONGEST * min(height, width):
        size = f"{width}×{height} pixels"
        raise UserError(f"{path} is {size}: cut it to less than {LONGEST} times as long as short.")
    return rgb


def network(name, store=None, device="cpu"):
    """The record of a finished run and its trained network.

    Args:
        name: key of the run; its beginning is enough.
        store: `runs.Store`; device: torch device.

    Returns:
        `(record, FCRN in evaluation mode)`.

    Raises:
        UserError: no such run, one without a network, or one of which only the record is here.
    """
    store, device = store or Store(), torch.device(device)
    record = store.get(name)
    if record is None or record["arm"] == "floor":
        raise UserError(f"no run {name} has a network; `python -m lthdepth show` lists the runs.")
    path = store.local / record["key"] / "weights.pt"
    if not path.exists():
        time = f"{record['seconds'] / 60:.0f} min on {record['device']}"
        again = f"`{command(record)} --keep` trains it again ({time})"
        raise UserError(f"the run {record['key']} is recorded, its weights are not here; {again}.")
    prepare(device)
    model = FCRN(record["config"]["backbone"])
    model.load_state_dict(read_tensors(path))
    return record, place(model, device).eval()


def seen(rgb, config):
    """Height and width at which the network sees a photo (H, W, 3): its own shape, neither stretched nor cut,
    with about as many pixels as the training frames had."""
    aspect = rgb.shape[1] / rgb.shape[0]
    height = math.sqrt(config.height * config.width / aspect)
    return max(32, round(height)), max(32, round(height * aspect))


def depth(rgb, record, model, device="cpu"):
    """Depth of a photo in metres, float32 (H, W), the photo's size.

    What `evaluate.evaluate` does to a test frame: the photo is brought to the size of the training frames,
    then to the network's.

    Args:
        rgb: uint8 (H, W, 3); record, model: of `network`; device: where the model is.
    """
    config = record.config
    height, width = seen(rgb, config)
    scale = record["data"]["height"] / config.height
    size = round(width * scale), round(height * scale)
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    small = np.ascontiguousarray(small.transpose(2, 0, 1)[None])
    nothing = np.zeros((1, *small.shape[2:]), np.float32)
    frame = Frames(small, nothing, np.array(["test"]), np.array(["photo"]), "photo")
    views = Views(frame, height, width, torch.device(device), config.normalise, config.crop)
    ((_, metres),) = evaluate.predict(model, views, np.array([0]), config, rgb.shape[:2])
    return metres[0].cpu().numpy()


def source(record):
    """What a network was trained on, and what that makes of its metres: two texts."""
    data = record["data"]["name"]
    kind, worth = TRAINED_ON.get(data, (f"frames of {data}", "On other photos its metres are a guess."))
    return f"{record['fit_frames']} {kind}", worth


def about(record, store=None):
    """What a network was trained on, how well it does there, and what follows for a photo: a few sentences.

    Args:
        record: of `network`; store: `runs.Store`, for the mean depth map under the same protocol.
    """
    config, (frames, worth) = record.config, source(record)
    text = f"The network ({label(record)}, {config.backbone}) was trained on {frames} at "
    text += f"{config.width}×{config.height} pixels."
    if split := next((s for s in ("test", "validation") if record[s]), None):
        rms = record[split]["full"]["pooled"]["rms"]
        text += f" On {record[split]['frames']} {split} frames of that kind its rms is {rms:.2f} m"
        floor = (store or Store()).get(key(config.floor(), record["data"]["fingerprint"], ""))
        if floor and floor[split]:
            rms = floor[split]["full"]["pooled"]["rms"]
            text += f"; the mean depth map, which looks at no picture, has rms {rms:.2f} m"
        text += "."
    return f"{text} {worth}"


def picture(rgb, metres, record, note=""):
    """The photo beside its depth, a colour bar in metres, what the network was trained on, and `note`."""
    step = max(1, max(rgb.shape) // 1200)
    ratio = rgb.shape[1] / rgb.shape[0]
    width = min(10, 8 * ratio)  # inches, of both pictures
    figure = Figure(figsize=(width + 0.9, width / 2 / ratio + 0.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(rgb[::step, ::step])
    far = float(np.percentile(metres, 99.5))
    image = right.imshow(metres[::step, ::step], cmap="viridis", vmin=0, vmax=far)
    for ax in (left, right):
        ax.set_axis_off()
    figure.colorbar(image, ax=right, label="depth (m)", shrink=0.85)
    caption = f"Predicted by run {record['key']}, trained on {source(record)[0]}.{note}"
    figure.supxlabel(caption, fontsize=8, color="0.35")
    return figure


def save(path, rgb, metres, record, folder, text=""):
    """Write `NAME-PHOTO_depth_KEY.png`, 16 bits a pixel, millimetres, and `NAME-PHOTO_picture_KEY.png`.

    PHOTO stands for the photo's pixels, so that photos of the same name do not overwrite each other's depth.
    Depth is cut to 1 … 65535 mm: in such files 0 means that nothing was measured.

    Args:
        path: of the photo; rgb, metres, record: of `photo`, `depth`, `network`; folder: where to;
        text: put inside both files, as `about`.

    Returns:
        The two paths. Raises UserError where they cannot be written.
    """
    stem = "_".join(Path(path).stem.split()) + "-" + hashlib.sha256(rgb.tobytes()).hexdigest()[:6]
    files = [Path(folder) / f"{stem}_{kind}_{record['key'][:8]}.png" for kind in ("depth", "picture")]
    millimetres = np.rint(1000 * metres).clip(1, 65535).astype(np.uint16)
    text = f"Depth predicted by run {record['key']} of lthdepth; the 16-bit file is in millimetres. {text}"
    info = PngInfo()
    info.add_itxt("Description", text)
    with replacing(files[0]) as part:
        Image.fromarray(millimetres).save(part, "PNG", pnginfo=info)
    with plt.style.context("default", after_reset=True), replacing(files[1]) as part:  # not a person's own
        figure = picture(rgb, metres, record)
        figure.savefig(part, format="png", dpi=160, metadata={"Description": text})
    return files
