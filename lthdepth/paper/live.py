"""What a reader moves: on a page the live verdict and the depth viewer, in JupyterLab the depth of a photo.

The verdict is the plan's tests under a reader's own margin, protocol, budget and seeds: `html/live.js`
computes what `analysis` does. The viewer shows dense network, ticket and truth side by side. Its depth is
kept as 8-bit PNG between the least and the greatest depth of each map: rounding by no more than 2 cm over
10 m, which is what the half-resolution data are known to.
"""

import base64
import io
import json
import math
import re
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from IPython.display import Markdown, display
from PIL import Image

from .. import mask, tickets
from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.verdict import CURVE, SAID, error_sums, primary
from ..config import ARMS
from ..data import photos
from ..errors import UserError
from ..inference import predict
from ..runs.record import label
from . import figures, plots
from .sentences import unmarked

HERE = Path(__file__).parent / "html"
WIDTH = 160  # pixels of the widest map in the viewer


def show(paper, caption):
    """Display the live verdict of the study in front; nothing without dense, floor and a ticket."""
    done, main = [r for r in [*paper.shown, *paper.rounds] if r], paper.verdict.main
    records = done + [r for r in paper.lost(paper.study.name) if r["key"] not in {d["key"] for d in done}]
    quick = f"Quick run on {paper.frames.name}, not a result. " if paper.profile == "quick" else ""
    if main.gate and len(main.tickets):
        embedded = data(paper.verdict, records, paper.store.arrays, paper.scenes(done))
        figures.html("live", fragment(embedded, paper.verdict.endpoint()), quick + caption)


def data(verdict, records, arrays, scenes):
    """What the page computes from, for JSON; a budget without a gate or tickets is left out.

    A ticket's `losses`: of each protocol a list in metres by seed, None without a pair. arrays, scenes: as
    `verdict.analyse`.
    """
    budgets, sums = {}, error_sums(records, arrays) if scenes is not None else {}
    seeds = sorted({r["seed"] for r in records if r["arm"] != "floor"})
    for epochs, analysis in verdict.budgets.items():
        if analysis.gate is None or analysis.tickets.empty:
            continue
        tables, tickets = plan.protocols(plan.of_budget(records, epochs), sums, scenes), []
        for t in analysis.tickets.sort_values("density", ascending=False).itertuples():
            pairs = [stats.pair(table, t.arm, t.density) for table in tables.values()]
            losses = [[round(float(d[s]), 9) if s in d else None for s in seeds] for d in pairs]
            names = {"arm": t.arm, "name": ARMS[t.arm], "label": label(t._asdict()), "primary": primary(t)}
            tickets.append(names | {"density": t.density, "losses": losses})
        tickets.sort(key=lambda ticket: list(ARMS).index(ticket["arm"]))
        budgets[epochs] = {"passed": analysis.passed, "tickets": tickets, "unread": unread(analysis)}
        protocols = list(tables)
    fixed = {
        "margin": stats.MARGIN,
        "alpha": stats.ALPHA,
        "pairs": plan.SEEDS,
        "levels": plan.LEVELS,
        "controls": plan.CONTROLS,
        "said": SAID,
    }
    return fixed | {"main": verdict.main.epochs, "seeds": seeds, "protocols": protocols, "budgets": budgets}


def fragment(embedded, verdict):
    """`data` as HTML with styles and script; verdict: what stands there, in Markdown, until that runs."""
    parts = {k.upper(): (HERE / f"live.{k}").read_text(encoding="utf-8") for k in ("css", "js", "html")}
    parts |= {"VERDICT": escape(unmarked(verdict)), "DATA": _json(embedded)}
    return re.sub(r"\{([A-Z]+)\}", lambda match: parts[match[1]], parts["HTML"])


def unread(analysis):
    """`CURVE`, where it has a gap in `budget.LEVELS`, so that no break-even density is read; else ""."""
    found = analysis.tickets[analysis.tickets.arm == CURVE].density
    inside = [k for k in plan.LEVELS if found.min() < k < found.max()]
    return "" if all(np.isclose(found, k).any() for k in inside) else CURVE


def photo(paper, density=1.0, path=None, cut=1.0):
    """Display, in JupyterLab, the depth of a photo by the network here of the nearest density.

    Args:
        density: kept fraction of the network's weights; path: of the photo; None: a test frame of the paper.
        cut: keep only this fraction of the network's prunable weights, the largest, not trained since.

    Raises UserError: as `photos.read`; a density outside (0, 1].
    """
    if not 0 < density <= 1:
        raise UserError(f"a density is in (0, 1], a fraction of the weights; got {density}.")
    store = paper.store
    here = [r for key, r in store.records().items() if (store.local / key / "weights.pt").exists()]
    if not here:
        none = "*No trained network is here yet.* `./build.sh --profile quick` trains some in minutes."
        return display(Markdown(none))

    def order(r):
        rms = r["test"]["full"]["pooled"]["rms"] if r["test"] else math.inf
        return abs(math.log(r["density"] / density)), r["data"]["name"] == "rooms", rms

    record, model = predict.network(min(here, key=order)["key"], store, paper.device)
    rgb, note = photos.read(path) if path else paper.summary.rgb[0], ""
    if cut < 1:
        mask.Masking(tickets.magnitude(mask.prunable(model.encoder.state_dict()), cut), model.encoder)
        note = f" Cut to {100 * cut:.3g} % of its prunable weights, and not trained since."
    figure = predict.picture(rgb, predict.depth(rgb, record, model, paper.device), record, note)
    display(Markdown(predict.about(record) + note), figure)


def viewer(paper, records):
    """Display the viewer of some records; nothing where no dense network's depth maps are known."""
    maps = paper.predictions(records)
    if ARMS["dense"] in maps:
        caption = "Depth viewer: the dense network, a ticket and the truth."
        figures.html("viewer", viewer_fragment(paper.summary, maps), caption)


def viewer_fragment(summary, predictions):
    """The viewer as HTML with its data, styles and script; it stays hidden where scripts do not run.

    predictions: `{label: (8, h, w) metres}`, with the dense network's; one map stands for all frames.
    """
    dense = ARMS["dense"]
    layers = {dense: predictions[dense], **predictions, "truth": summary.depth}
    order, frames = plots.clearest(summary, predictions), []
    for i in order:
        name = f"{summary.scene[i]}, test frame {summary.index[i]}"
        frames.append({"name": name, "photo": _uri(Image.fromarray(summary.rgb[i]), "JPEG", quality=85)})
    data = {"frames": frames, "top": round(float(np.percentile(summary.depth, 99.5)), 1)}
    data["layers"] = {k: _sheet(maps[order] if len(maps) > 1 else maps) for k, maps in layers.items()}
    for name, colours in (("depth", "viridis"), ("error", "PuOr")):
        data[name] = matplotlib.colormaps[colours](np.arange(256), bytes=True)[:, :3].ravel().tolist()
    return (HERE / "viewer.html").read_text(encoding="utf-8").replace("{DATA}", _json(data))


def _json(data):
    """Data for a script element, which nothing in them ends."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


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
