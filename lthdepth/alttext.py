"""A figure in words, for those who cannot see it: what is drawn, on which axes, and the values it runs through.

The words are read off the figure itself, so they are as true as the picture. The caption says why it is there; this, what is
seen.
"""

import numpy as np


def describe(figure):
    """The alternative text of a matplotlib figure."""
    bars = [ax for ax in figure.axes if hasattr(ax, "_colorbar")]
    panels = [ax for ax in figure.axes if ax not in bars]
    if panels and all(ax.images for ax in panels):
        text = _pictures(panels)
    else:
        text = " ".join(_chart(ax, k if len(panels) > 1 else 0) for k, ax in enumerate(panels, 1))
    for bar in bars:
        low, high = sorted(bar.get_ylim())
        text += f" Colour stands for {bar.get_ylabel()}, from {_number(low)} to {_number(high)}."
    return text


def _pictures(panels):
    columns = max(ax.get_subplotspec().get_gridspec().ncols for ax in panels)
    titles = [ax.get_title().replace("\n", " ") for ax in panels if ax.get_title()]
    rows = -(-len(panels) // columns)
    shape = "One picture" if len(panels) == 1 else f"{len(panels)} pictures in {rows} {'row' if rows == 1 else 'rows'} of {columns}"
    if len(panels) == 1:
        values = np.asarray(panels[0].images[0].get_array(), float)
        shape += f", largest at the {_where(values, np.argmax)}, smallest at the {_where(values, np.argmin)}"
    return f"{shape}{': ' + ', '.join(titles) if titles else ''}."


def _where(values, extreme):
    """In which ninth of a picture `(H, W)` an extreme lies."""
    row, column = np.unravel_index(extreme(values), values.shape)
    names = ("top", "middle", "bottom")[3 * row // len(values)], ("left", "centre", "right")[3 * column // values.shape[1]]
    return " ".join(names)


def _chart(ax, number):
    """One pair of axes; `number` of the panel, 0 where it is the only one."""
    x, y = (_axis(label, ticks) for label, ticks in ((ax.get_xlabel(), ax.get_xticklabels()), (ax.get_ylabel(), ax.get_yticklabels())))
    text = f"{f'Panel {number}: chart' if number else 'Chart'} of {y} against {x}"
    if title := ax.get_title():
        text += f", titled {title}"
    found = [t for t in (*map(_line, ax.lines), *map(_stairs, ax.patches), *_bars(ax)) if t]
    dots = sum(len(c.get_offsets()) for c in ax.collections) + sum(len(line.get_xdata()) for line in ax.lines if line.get_linestyle() == "None")
    if dots:
        found.append(f"{dots} {'dot' if dots == 1 else 'dots'}")
    return f"{text}: {'; '.join(found)}." if found else f"{text}."


def _axis(label, ticks):
    names = [t.get_text() for t in ticks if t.get_text() and not _is_number(t.get_text())]
    listed = f"{', '.join(names[:8])}{' and others' if len(names) > 8 else ''}"
    return f"{label} ({listed})" if label and names else label or listed or "position"


def _line(line):
    name, y = line.get_label(), np.asarray(line.get_ydata(), float)
    y = y[np.isfinite(y)]
    if name.startswith("_") or not len(y) or line.get_linestyle() == "None":
        return ""
    if y.min() == y.max():
        return f"{name}, level at {_number(y[0])}"
    text = f"{name} from {_number(y[0])} to {_number(y[-1])}"
    return text if {y.min(), y.max()} == {y[0], y[-1]} else f"{text}, between {_number(y.min())} and {_number(y.max())}"


def _stairs(patch):
    if not hasattr(patch, "get_data") or patch.get_label().startswith("_"):
        return ""
    values, edges, _ = patch.get_data()
    peak = int(np.argmax(values))
    return f"{patch.get_label()}, highest ({_number(values[peak])}) between {_number(edges[peak])} and {_number(edges[peak + 1])}"


def _bars(ax):
    for bars in ax.containers:
        heights = [bar.get_height() for bar in bars if hasattr(bar, "get_height")]
        names = [name for name in (bars.get_label(), *(bar.get_label() for bar in bars[:1])) if not name.startswith("_")]
        if heights and names:
            yield f"{names[0]}, bars of {_number(min(heights))} to {_number(max(heights))}"


def _number(value):
    return f"{value:.3g}".replace("-", "−")


def _is_number(text):
    return not any(letter.isalpha() for letter in text.replace("mathdefault", ""))
