"""What the paper shows of a data set without the data set: counts, histograms, mean depth, a few frames."""

import json
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .frames import describe, gallery_frames
from .hdf5 import open_h5, writing


@dataclass(frozen=True, eq=False)
class Summary:
    """What `summarise` takes of a data set.

    Attributes:
        description: `frames.describe`.
        mean: `(H, W)` metres, the mean depth map of all official training frames.
        index: of the frames in the gallery; scene: their names.
        rgb, depth: uint8 `(8, h, w, 3)` and float `(8, h, w)` in metres, at no more than 160 pixels width.
    """

    description: dict
    mean: np.ndarray
    index: np.ndarray
    rgb: np.ndarray
    depth: np.ndarray
    scene: list


def summarise(frames):
    """The `Summary` of `frames.Frames`."""
    index = gallery_frames(np.flatnonzero(frames.split == "test"))
    step = max(1, frames.depth.shape[2] // 160)
    h, w = (side // step * step for side in frames.depth.shape[1:])
    rgb = frames.rgb[index, :, :h, :w].reshape(len(index), 3, h // step, step, w // step, step).mean((3, 5))
    rgb = rgb.round().astype(np.uint8).transpose(0, 2, 3, 1)
    fit = frames.depth[frames.split != "test"]
    mean = (fit.sum(0, dtype=np.float64) / np.maximum((fit > 0).sum(0), 1)).astype(np.float32)
    depth = frames.depth[index, :h:step, :w:step]
    return Summary(describe(frames), mean, index, rgb, depth, frames.scene[index].tolist())


def save(summary, path):
    """Write a summary to HDF5 (about 0.6 MB for NYU Depth V2)."""
    with writing(path) as file:
        file.attrs.update(description=json.dumps(summary.description), scene=json.dumps(summary.scene))
        file["index"] = summary.index
        for name, dtype in (("mean", np.float16), ("depth", np.float16), ("rgb", np.uint8)):
            values = getattr(summary, name).astype(dtype)
            file.create_dataset(name, data=values, compression="gzip", shuffle=True)


def load(path):
    """Read what `save` wrote. Raises UserError where it is absent or damaged."""
    try:
        with open_h5(path) as file:
            description, scene = (json.loads(file.attrs[name]) for name in ("description", "scene"))
            mean, depth = (file[name][()].astype(np.float32) for name in ("mean", "depth"))
            return Summary(description, mean, file["index"][()], file["rgb"][()], depth, scene)
    except (UserError, KeyError, ValueError, TypeError, AttributeError):
        advice = "`python -m lthdepth data FILE --record` writes it"
        raise UserError(f"{path} is no summary of NYU Depth V2 that can be read; {advice}.") from None
