"""Iterative magnitude pruning with rewinding, animated: a schematic, and the rounds of a recorded run."""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from PIL import Image

from .. import config
from ..mask import count

SIZES = (5, 8, 8, 3)  # neurons in each layer of the drawn network


def pruning(rounds=8, seed=0):
    """The steps of a schematic run: list of `(title, weights, kept, marked)`.

    The network is random and its "training" a random drift; only the bookkeeping (train, prune the 20 % of the kept
    weights with the smallest magnitude, rewind) is that of the real procedure.

    Shapes: all arrays `(W,)`; weights are those to draw, kept and marked are bool, marked are about to be pruned.
    """
    generator = np.random.default_rng(seed)
    size = sum(a * b for a, b in zip(SIZES, SIZES[1:], strict=False))
    theta = generator.normal(size=size)
    kept = np.ones(size, bool)
    nothing = np.zeros(size, bool)
    steps = [("start from the pre-trained weights θ", theta, kept, nothing)]
    for k in range(1, rounds + 1):
        trained = theta + 0.45 * generator.normal(size=size)
        order = np.argsort(np.where(kept, np.abs(trained), np.inf))
        marked = nothing.copy()
        marked[order[: kept.sum() - count(0.8**k, size)]] = True
        steps.append((f"round {k}: train", trained, kept, nothing))
        steps.append((f"round {k}: mark the smallest 20 %", trained, kept, marked))
        kept = kept & ~marked
        steps.append((f"round {k}: prune, rewind to θ: {100 * kept.mean():.0f} % left", theta, kept, nothing))
    return steps


def gif(steps, milliseconds=650):
    """Draw steps of `pruning` as an animated GIF (bytes): line width is magnitude, colour is sign, red is marked."""
    places = [
        np.column_stack([np.full(n, float(i)), np.linspace(-n / 2, n / 2, n)]) for i, n in enumerate(SIZES)
    ]
    lines = [(a, b) for one, two in zip(places, places[1:], strict=False) for a in one for b in two]
    images = []
    for title, weights, kept, marked in steps:
        figure = plt.figure(figsize=(5.6, 3.2), dpi=90, layout="none")
        canvas = FigureCanvasAgg(figure)
        ax = figure.add_axes((0, 0, 1, 0.88))
        colours = np.where(marked, "#D00000", np.where(weights > 0, "#0072B2", "#E69F00"))
        ax.add_collection(
            LineCollection(
                [s for s, k in zip(lines, kept, strict=True) if k],
                linewidths=0.3 + 1.5 * np.abs(weights[kept]),
                colors=colours[kept],
            )
        )
        ax.plot(*np.concatenate(places).T, "o", ms=9, color="0.25")
        ax.set(xlim=(-0.3, len(SIZES) - 0.7), ylim=(-4.7, 4.7))
        ax.set_axis_off()
        figure.text(0.5, 0.93, title, ha="center", va="center", fontsize=12)
        images.append(_picture(canvas))
        plt.close(figure)
    return _animate(images, milliseconds)


def rounds(chain, note=""):
    """Iterative magnitude pruning as it ran: what each recorded round left in every layer, and the error of its network.

    Args:
        chain: records of a dense run and of the rounds that follow from it, as `Desk.rounds`.
        note: words below the picture.

    Returns:
        An animated GIF (bytes), a picture a round; None for fewer than two rounds.
    """
    if len(chain) < 3:
        return None
    kept = [[100 * k / n for _, k, n in r["ticket"]["layers"]] for r in chain]
    density = [100 * r["density"] for r in chain]
    rms = [r["test"]["full"]["pooled"]["rms"] for r in chain]
    images = []
    for i, r in enumerate(chain):
        figure = plt.figure(figsize=(7.2, 3.4), dpi=90, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        left.bar(range(len(kept[i])), kept[i], width=0.9, color="#009E73")
        left.axhline(density[i], color="black", lw=1, ls=":")
        left.set(
            yscale="log",
            ylim=(max(0.1, 0.7 * min(map(min, kept))), 130),
            xlabel="layer, from input to output",
            ylabel="weights kept (%)",
        )
        left.set_yticks(
            ticks := [t for t in (0.1, 1, 10, 50, 100) if t >= left.get_ylim()[0]], [f"{t:g}" for t in ticks]
        )
        left.minorticks_off()
        right.plot(density, rms, "o", ms=6, color="0.85")
        for k in range(i + 1):
            whole = chain[k]["epochs_run"] == chain[-1]["epochs_run"]
            right.plot(
                density[k], rms[k], "o", ms=6, mec="#009E73", mew=1.5, mfc="#009E73" if whole else "white"
            )
        right.set(
            xscale="log",
            xlim=(max(density) * 1.1, min(density) / 1.1),
            xlabel="weights kept (%)",
            ylabel="test rms (m)",
        )
        right.set_xticks(
            density[:: max(1, len(density) // 4)], [f"{d:.3g}" for d in density[:: max(1, len(density) // 4)]]
        )
        right.minorticks_off()
        title = f"round {config.rounds(r['density'])}: train, prune 20 %, rewind: {density[i]:.3g} % left"
        figure.suptitle("the dense network" if r["density"] == 1 else title, fontsize=11)
        if note:
            figure.text(
                0.5,
                0.45,
                note,
                ha="center",
                rotation=12,
                fontsize=18,
                color="crimson",
                alpha=0.25,
                weight="bold",
            )
        images.append(_picture(canvas))
        plt.close(figure)
    return _animate(images, 900)


def _picture(canvas):
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64)


def _animate(images, milliseconds):
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True
    )
    return buffer.getvalue()
