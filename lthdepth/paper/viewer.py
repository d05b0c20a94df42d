"""The depth viewer: dense network, ticket and truth side by side, to drag between and to measure.

Depth is kept as 8-bit PNG between the least and the greatest depth of each map: rounding by no more than 2 cm
over 10 m, which is what the half-resolution data are known to.
"""

import base64
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from ..config import ARMS
from . import figures

HERE = Path(__file__).parent / "html"
WIDTH = 160  # pixels of the widest map kept


def show(paper, found):
    """Display the viewer of the first study that has a dense network's depth maps; nothing where none has.

    Args:
        paper: whose gallery it is; found: `{study: records}`, the profile's own study first.
    """
    for study, records in found.items():
        maps = paper.predictions(records)
        if ARMS["dense"] in maps:
            caption = f"Depth viewer ({study} runs): the dense network, a ticket and the truth."
            return figures.html("viewer", fragment(paper.summary(), maps), caption)


def fragment(summary, predictions):
    """The viewer as HTML with its data, styles and script; it stays hidden where scripts do not run.

    Args:
        summary: `summary.Summary`: photos and true depth.
        predictions: `{label: (8, h, w) metres}`, with the dense network's; one map stands for all frames.
    """
    dense = ARMS["dense"]
    layers = {dense: predictions[dense], **predictions, "truth": summary.depth}
    data = {
        "frames": [
            {"name": f"{scene}, test frame {index}", "photo": _uri(Image.fromarray(rgb), "JPEG", quality=85)}
            for scene, index, rgb in zip(summary.scene, summary.index.tolist(), summary.rgb, strict=True)
        ],
        "layers": {name: _sheet(maps) for name, maps in layers.items()},
        "top": round(float(np.percentile(summary.depth, 99.5)), 1),
        "depth": matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3].ravel().tolist(),
        "error": matplotlib.colormaps["PuOr"](np.arange(256), bytes=True)[:, :3].ravel().tolist(),
    }
    page = (HERE / "viewer.html").read_text(encoding="utf-8")
    return page.replace("{DATA}", json.dumps(data).replace("<", "\\u003c"))


def _sheet(maps):
    """Depth maps (n, h, w) as a grey picture, frames below each other, and the depths of 0 and 255."""
    maps = np.asarray(maps, np.float32)
    step = max(1, maps.shape[2] // WIDTH)
    maps = maps[:, ::step, ::step]
    low, high = float(maps.min()), float(maps.max())
    codes = np.rint((maps - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    n, height, width = codes.shape
    picture = _uri(Image.fromarray(codes.reshape(n * height, width)), "PNG", optimize=True)
    return {"n": n, "height": height, "width": width, "low": low, "high": high, "picture": picture}


def _uri(image, kind, **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
