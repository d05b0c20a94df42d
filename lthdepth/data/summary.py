"""What the paper shows of a data set without the data set: counts, histograms, the mean depth map, a few frames."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..training.fit import gallery_frames
from .frames import describe
from .hdf5 import open_h5, whole, writing


@dataclass(frozen=True, eq=False)
class Summary:
    """description: `frames.describe`; mean: `(H, W)` metres; index, rgb, depth, scene: the frames of the gallery.

    rgb is uint8 `(8, h, w, 3)`, depth float `(8, h, w)` in metres, at no more than 160 pixels width.
    """

    description: dict
    mean: np.ndarray
    index: np.ndarray
    rgb: np.ndarray
    depth: np.ndarray
    scene: list


def summarise(frames):
    """The `Summary` of `frames.Frames`; its mean depth map is that of all official training frames."""
    index = gallery_frames(np.flatnonzero(frames.split == "test"))
    step = max(1, frames.depth.shape[2] // 160)
    h, w = frames.depth.shape[1] // step * step, frames.depth.shape[2] // step * step
    rgb = frames.rgb[index, :, :h, :w].reshape(len(index), 3, h // step, step, w // step, step).mean((3, 5))
    fit = frames.depth[frames.split != "test"]
    mean = fit.sum(0, dtype=np.float64) / np.maximum((fit > 0).sum(0), 1)
    return Summary(
        describe(frames),
        mean.astype(np.float32),
        index,
        rgb.round().astype(np.uint8).transpose(0, 2, 3, 1),
        frames.depth[index, :h:step, :w:step],
        frames.scene[index].tolist(),
    )


def save(summary, path):
    """Write a summary to HDF5 (about 0.6 MB for NYU Depth V2)."""
    with writing(path) as file:
        file.attrs["description"] = json.dumps(summary.description)
        file.attrs["scene"] = json.dumps(summary.scene)
        file["index"] = summary.index
        for name in ("mean", "depth"):
            file.create_dataset(
                name, data=getattr(summary, name).astype(np.float16), compression="gzip", shuffle=True
            )
        file.create_dataset("rgb", data=summary.rgb, compression="gzip", shuffle=True)


def load(path):
    """Read what `save` wrote. Raises UserError where it is absent or damaged."""
    if not Path(path).exists():
        raise UserError(f"no summary {path}; `python -m lthdepth data FILE --record` writes it.")
    with open_h5(path) as file:
        try:
            found = whole({name: file[name] for name in ("mean", "index", "rgb", "depth")}, path)
            return Summary(
                json.loads(file.attrs["description"]),
                found["mean"].astype(np.float32),
                found["index"],
                found["rgb"],
                found["depth"].astype(np.float32),
                json.loads(file.attrs["scene"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"{path} is no summary of ours; `python -m lthdepth data FILE --record` writes it."
            ) from None
