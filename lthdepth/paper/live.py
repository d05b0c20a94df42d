"""What a reader moves: on a page the live verdict and the depth viewer, in JupyterLab the depth of a photo.

The verdict is the plan's tests under a reader's own margin, protocol, budget and seeds. `html/live.js`
computes what `analysis` does; what it says as it opens stands in the page. The viewer shows dense network,
ticket and truth side by side, to drag between and to measure. Its depth is kept as 8-bit PNG between the
least and the greatest depth of each map: rounding by no more than 2 cm over 10 m, which is what the
half-resolution data are known to.
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
from ..analysis.budget import of_budget
from ..analysis.verdict import CURVE, LEVELS, SAID, conclude, error_sums, primary
from ..config import ARMS
from ..errors import UserError
from ..inference import predict
from ..runs.record import label
from . import figures, plots
from .tables import density, density_interval, interval, p_value, signed

HERE = Path(__file__).parent / "html"
WIDTH = 160  # pixels of the widest map in the viewer


def show(paper, caption):
    """Display the live verdict of the study in front; nothing without dense, floor and a ticket."""
    done, main = [r for r in [*paper.shown, *paper.rounds] if r], paper.verdict.main
    records = done + [r for r in paper.lost(paper.study.name) if r["key"] not in {d["key"] for d in done}]
    quick = f"Quick run on {paper.frames.name}, not a result. " if paper.profile == "quick" else ""
    if main.gate and len(main.tickets):
        embedded = data(paper.verdict, records, paper.store.arrays, paper.scenes(done))
        figures.html("live", fragment(embedded, main), quick + caption)


def data(verdict, records, arrays, scenes):
    """What the page computes from, for JSON.

    Args:
        verdict: `verdict.Verdict` of the records; a budget without a gate or tickets is left out.
        records: of the study; arrays: function from key to arrays; scenes: by frame index, or None.

    Returns:
        dict; a ticket's `losses`: a list a protocol, in metres by seed, None without a pair.
    """
    budgets, protocols, sums = {}, [], error_sums(records, arrays) if scenes is not None else {}
    seeds = sorted({r["seed"] for r in records if r["arm"] != "floor"})
    for epochs, analysis in verdict.budgets.items():
        if analysis.gate is None or analysis.tickets.empty:
            continue
        tables, tickets = plan.protocols(of_budget(records, epochs), sums, scenes), []
        protocols = list(tables)
        for t in _ordered(analysis).itertuples():
            pairs = [stats.pair(table, t.arm, t.density) for table in tables.values()]
            losses = [[round(float(d[s]), 9) if s in d else None for s in seeds] for d in pairs]
            names = {"arm": t.arm, "name": ARMS[t.arm], "label": label(t._asdict()), "primary": primary(t)}
            tickets.append(names | {"density": t.density, "losses": losses})
        budgets[epochs] = {"passed": analysis.passed, "tickets": tickets, "unread": unread(analysis)}
    fixed = {"margin": stats.MARGIN, "alpha": stats.ALPHA, "controls": plan.CONTROLS, "said": SAID}
    return fixed | {"main": verdict.main.epochs, "seeds": seeds, "protocols": protocols, "budgets": budgets}


def fragment(embedded, analysis):
    """`data` as HTML with styles and script; text and table are those of the main budget's `Analysis`."""
    cells = ""
    for row in rows(analysis):
        texts = "".join(f"<td>{escape(text)}</td>" for text in row)
        heading = f'<tr class="group"><th colspan="6">{escape(row[0])}</th></tr>'
        cells += heading if len(row) == 1 else f"<tr>{texts}</tr>"
    sentence, details = map(escape, conclusion(analysis))
    parts = {"CONCLUSION": sentence, "DETAILS": details, "ROWS": cells}
    for kind in ("css", "js", "html"):
        parts[kind.upper()] = (HERE / f"live.{kind}").read_text(encoding="utf-8")
    parts["DATA"] = json.dumps(embedded, separators=(",", ":")).replace("<", "\\u003c")
    return re.sub(r"\{([A-Z]+)\}", lambda match: parts[match[1]], parts["HTML"])


def rows(analysis, margin=stats.MARGIN):
    """Lists of texts: of an arm its name and break-even density, then of each of its tickets its cells."""
    result, even = [], {r.arm: r for r in analysis.break_even.itertuples()}
    for arm, levels in _ordered(analysis).groupby("arm", sort=False):
        known = arm in even and arm != unread(analysis)
        result.append([ARMS[arm] + (_break_even(even[arm]) if known else "")])
        for t in levels.itertuples():
            p = p_value(t.holm) if analysis.passed else "–"
            loss = signed(t.difference)
            said = analysis.outcome(t, margin)
            result.append([f"{100 * t.density:.2f} %", str(t.n), loss, interval(t.low, t.high), p, said])
    return result


def conclusion(analysis, margin=stats.MARGIN):
    """What follows for the sparsest ticket by IMP or else one-shot magnitude, and its numbers."""
    sparsest = {t.arm: t for t in _ordered(analysis).itertuples()}  # the last of an arm
    t = sparsest.get("imp") or sparsest.get("omp")
    if t is None:
        return SAID["none"], ""
    name = label(t._asdict())
    details = f"{name[0].upper()}{name[1:]}: {signed(t.difference)} m from dense, "
    details += "one pair" if t.n < 2 else f"{t.n} pairs, 95 % interval {interval(t.low, t.high)} m"
    if t.n > 1 and analysis.passed:
        p = p_value(t.holm)
        details += f"; p {p if '<' in p else f'= {p}'} against a margin of {margin:.3f} m"
    return conclude(analysis, t, margin), f"{details}."


def _ordered(analysis):
    table = analysis.tickets.sort_values("density", ascending=False)
    return table.sort_values("arm", key=lambda arm: arm.map(list(ARMS).index), kind="stable")


def unread(analysis):
    """`CURVE`, where its levels leave one of `LEVELS` out, so that no break-even density is read; else ""."""
    found = analysis.tickets[analysis.tickets.arm == CURVE].density
    inside = [k for k in LEVELS if found.min() < k < found.max()]
    return "" if all(np.isclose(found, k).any() for k in inside) else CURVE


def _break_even(row):
    value, bounds = density(row, row.density), density_interval(row)
    text = f": breaks even {'at ' if value[0].isdigit() else ''}{value}"
    return text if bounds == "–" else f"{text}, 95 % interval {bounds}"


def photo(paper, density=1.0, path=None, cut=1.0):
    """Display, in JupyterLab, the depth of a photo by the network here of the nearest density.

    Args:
        paper: `study.Paper`; density: kept fraction of the network's weights.
        path: of the photo; None: a test frame of the paper's data.
        cut: keep only this fraction of the trained network's prunable weights, the largest, not trained
            since.

    Raises:
        UserError: as `predict.photo`; a density outside (0, 1].
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
    rgb = predict.photo(path) if path else paper.summary.rgb[0]
    note = ""
    if cut < 1:
        mask.Masking(tickets.magnitude(mask.prunable(model.encoder.state_dict()), cut), model.encoder)
        note = f" Cut to {100 * cut:.3g} % of its prunable weights, and not trained since."
    figure = predict.picture(rgb, predict.depth(rgb, record, model, paper.device), record, note)
    display(Markdown(predict.about(record, store) + note), figure)


def viewer(paper, found):
    """Display the viewer of the first study that has a dense network's depth maps; nothing where none has.

    Args:
        paper: whose gallery it is; found: `{study: records}`, the profile's own study first.
    """
    for records in found.values():
        maps = paper.predictions(records)
        if ARMS["dense"] in maps:
            caption = "Depth viewer: the dense network, a ticket and the truth."
            return figures.html("viewer", viewer_fragment(paper.summary, maps), caption)


def viewer_fragment(summary, predictions):
    """The viewer as HTML with its data, styles and script; it stays hidden where scripts do not run.

    Args:
        summary: `frames.Summary`: photos and true depth.
        predictions: `{label: (8, h, w) metres}`, with the dense network's; one map stands for all frames.
    """
    dense = ARMS["dense"]
    layers = {dense: predictions[dense], **predictions, "truth": summary.depth}
    order = plots.clearest(summary, predictions)
    data = {
        "frames": [
            {
                "name": f"{summary.scene[i]}, test frame {summary.index[i]}",
                "photo": _uri(Image.fromarray(summary.rgb[i]), "JPEG", quality=85),
            }
            for i in order
        ],
        "layers": {name: _sheet(maps[order] if len(maps) > 1 else maps) for name, maps in layers.items()},
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
