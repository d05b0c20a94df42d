"""The depth viewer: dense network, ticket and truth of the gallery's frames side by side, to drag between and to measure.

One piece of HTML with its data, styles and script inside: it works in a page opened from disk and in JupyterLab, and
stays hidden where scripts do not run. Depth is kept as 8-bit PNG between the least and the greatest depth of each map:
rounding by no more than 2 cm over 10 m, which is what the half-resolution data are known to.
"""

import base64
import html
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
from IPython.display import HTML, display
from PIL import Image

from ..config import ARMS

HERE = Path(__file__).parent / "html"
WIDTH = 160  # pixels of the widest map kept


def show(desk, found):
    """Display the viewer of the first study that has a dense network's depth maps; nothing where none has.

    Args:
        desk: `desk.Desk`; found: `{study: records}`, the profile's own study first.
    """
    for study, records in found.items():
        maps = desk.predictions(records)
        if ARMS["dense"] in maps:
            return display(HTML(fragment(desk.summary(), maps, f"{study} runs")))


def fragment(summary, predictions, title):
    """The viewer as HTML.

    Args:
        summary: `summary.Summary`: photos and true depth.
        predictions: `{label: (8, h, w) metres}`, the dense network's among them; a single map stands for all frames.
        title: whose predictions these are.
    """
    dense = ARMS["dense"]
    frames = [
        {"name": f"{scene}, test frame {index}", "photo": _uri(Image.fromarray(rgb), "JPEG", quality=85)}
        for scene, index, rgb in zip(summary.scene, summary.index.tolist(), summary.rgb, strict=True)
    ]
    layers = {
        dense: predictions[dense],
        **{k: v for k, v in predictions.items() if k != dense},
        "truth": summary.depth,
    }
    top = float(np.percentile(summary.depth, 99.5))
    data = {
        "frames": frames,
        "layers": {name: _sheet(maps) for name, maps in layers.items()},
        "top": round(top, 1),
        "depth": _colours("viridis"),
        "error": _colours("PuOr"),
    }
    page = (HERE / "viewer.html").read_text(encoding="utf-8")
    for mark, text in (
        ("STYLE", (HERE / "viewer.css").read_text(encoding="utf-8")),
        ("DATA", json.dumps(data).replace("<", "\\u003c")),
        ("SCRIPT", (HERE / "viewer.js").read_text(encoding="utf-8")),
        ("TITLE", html.escape(title)),
    ):
        page = page.replace(f"<!--{mark}-->", text)
    return page


def _sheet(maps):
    """Depth maps (n, h, w) as one grey picture of n frames, one below the other, with the depths that 0 and 255 mean."""
    maps = np.asarray(maps, np.float32)
    step = max(1, maps.shape[2] // WIDTH)
    maps = maps[:, ::step, ::step]
    low, high = float(maps.min()), float(maps.max())
    codes = np.rint((maps - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    n, height, width = codes.shape
    picture = _uri(Image.fromarray(codes.reshape(n * height, width)), "PNG", optimize=True)
    return {"n": n, "height": height, "width": width, "low": low, "high": high, "picture": picture}


def _colours(name):
    """A colour map of matplotlib as 256 RGB triples in base64."""
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(table).tobytes()).decode()


def _uri(image, kind, **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
