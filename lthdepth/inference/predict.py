"""Depth of a photo of one's own, by the network of a finished run, and what to think of it."""

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from ..data.augment import Views
from ..data.frames import Frames
from ..errors import UserError
from ..files import replacing
from ..model import FCRN
from ..runs.record import command
from ..runs.run import Store, label
from ..training import evaluate
from ..training.arms import trained_weights
from ..training.step import place, prepare

WORTH = {  # of a prediction's metres, by the frames that the network was trained on
    "rooms": "It has never seen a photo: take its depth as a demonstration, not as a measurement.",
    "nyu": "Its metres hold for rooms seen by a camera like that of NYU Depth V2; outdoors, through another "
    "lens or of a close-up they are a guess.",
}


def network(name, store=None, device="cpu"):
    """The record of a finished run, of whose key `name` is the beginning, and its network for evaluation.

    Raises UserError where there is no such run, it has no network, or only its record is here.
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
    model.load_state_dict(trained_weights(path.parent, record["config"]["backbone"]))
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


def about(record):
    """What a network was trained on, how well it does there, and what follows for a photo: sentences."""
    config, data = record.config, record["data"]["name"]
    text = (
        f"The network ({label(record)}, {config.backbone}) was trained on {record['fit_frames']} frames of "
    )
    text += f"{data} at {config.width}×{config.height} pixels."
    if test := record["test"]:
        text += f" On {test['frames']} test frames its rms is {test['full']['pooled']['rms']:.2f} m."
    return f"{text} {WORTH.get(data, 'On other photos its metres are a guess.')}"


def picture(rgb, metres, record, note=""):
    """The photo beside its depth, a colour bar in metres, and below the run and `note`."""
    height = 5 * rgb.shape[0] / rgb.shape[1]
    figure = Figure(figsize=(11, height + 0.9), layout="constrained")
    photo, right = figure.subplots(1, 2)
    photo.imshow(rgb)
    image = right.imshow(metres, vmin=0, vmax=np.percentile(metres, 99.5))
    for ax in (photo, right):
        ax.set_axis_off()
    figure.colorbar(image, ax=right, label="depth (m)")
    caption = f"Predicted by run {record['key']}, trained on {record['data']['name']}.{note}"
    figure.supxlabel(caption, fontsize=8)
    return figure


def save(path, rgb, metres, record, folder):
    """Write `NAME_depth_KEY.png`, 16 bits a pixel, millimetres, and `NAME_picture_KEY.png`.

    NAME is that of the photo. Depth is cut to 1 … 65535 mm: in such files 0 means that nothing was measured.
    Returns the two paths; raises UserError where they cannot be written.
    """
    names = [f"{Path(path).stem}_{kind}_{record['key'][:8]}.png" for kind in ("depth", "picture")]
    files = [Path(folder) / name for name in names]
    with replacing(files[0]) as part:
        Image.fromarray(np.rint(1000 * metres).clip(1, 65535).astype(np.uint16)).save(part, "PNG")
    with replacing(files[1]) as part:
        picture(rgb, metres, record).savefig(part, format="png", dpi=160)
    return files
