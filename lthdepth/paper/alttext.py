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
        text = _matrix(panels[0]) if len(panels) == 1 and _names(panels[0], "y") else _pictures(panels)
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
    shape = (
        "One picture"
        if len(panels) == 1
        else f"{len(panels)} pictures in {rows} {'row' if rows == 1 else 'rows'} of {columns}"
    )
    if len(panels) == 1:
        values = np.asarray(panels[0].images[0].get_array(), float)
        shape += f", largest at the {_where(values, np.argmax)}, smallest at the {_where(values, np.argmin)}"
    return f"{shape}{': ' + ', '.join(titles) if titles else ''}."


def _where(values, extreme):
    """In which ninth of a picture `(H, W)` an extreme lies."""
    row, column = np.unravel_index(extreme(values), values.shape)
    names = (
        ("top", "middle", "bottom")[3 * row // len(values)],
        ("left", "centre", "right")[3 * column // values.shape[1]],
    )
    return " ".join(names)


def _matrix(ax):
    """A picture whose rows and columns have names: every value, or of many the greatest and the least."""
    values = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    rows, columns = _names(ax, "y"), _names(ax, "x")
    cells = [
        (values[y, x], f"{rows[y]} and {columns[x]}")
        for y in rows
        for x in columns
        if np.isfinite(values[y, x])
    ]
    text = f"A square for each pair of {len({*rows.values(), *columns.values()})}"
    if len(cells) > 6:
        (least, few), (most, many) = min(cells), max(cells)
        return f"{text}: least for {few}, {_number(least)}; greatest for {many}, {_number(most)}."
    return f"{text}: {'; '.join(f'{name}, {_number(value)}' for value, name in cells)}."


def _chart(ax, number):
    """One pair of axes; `number` of the panel, 0 where it is the only one."""
    x, y = (_axis(ax, which) for which in "xy")
    text = f"{f'Panel {number}: chart' if number else 'Chart'} of {y} against {x}"
    if title := ax.get_title():
        text += f", titled {title}"
    found = [t for t in (*map(_line, ax.lines), *map(_stairs, ax.patches), *_bars(ax), *_dots(ax)) if t]
    return f"{text}: {'; '.join(found)}." if found else f"{text}."


def _names(ax, which):
    """Names along an axis, `{place: name}`, of the axes that it shares it with where these bear them; {} for numbers."""
    group = getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax)
    for one in [ax, *group]:
        axis = getattr(one, f"{which}axis")
        names = {
            place: tick.get_text()
            for place, tick in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
        }
        if any(name and not _is_number(name) for name in names.values()):
            return {round(place): name for place, name in names.items() if name}
    return {}


def _axis(ax, which):
    group = getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax)
    label = next(filter(None, (getattr(one, f"get_{which}label")() for one in [ax, *group])), "")
    names = list(_names(ax, which).values())
    listed = f"{', '.join(names[:8])}{' and others' if len(names) > 8 else ''}"
    return f"{label} ({listed})" if label and names else label or listed or "position"


def _line(line):
    name, y = line.get_label(), np.asarray(line.get_ydata(), float)
    y = y[np.isfinite(y)]
    if name.startswith("_") or not len(y) or line.get_linestyle() == "None":
        return ""
    if y.min() == y.max():
        return f"{name}, level at {_number(y[0])}"
    if line.axes.xaxis_inverted() == (
        line.get_xdata()[-1] > line.get_xdata()[0]
    ):  # as it is read, from left to right
        y = y[::-1]
    text = f"{name} from {_number(y[0])} to {_number(y[-1])}"
    return (
        text
        if {y.min(), y.max()} == {y[0], y[-1]}
        else f"{text}, between {_number(y.min())} and {_number(y.max())}"
    )


def _stairs(patch):
    if not hasattr(patch, "get_data") or patch.get_label().startswith("_"):
        return ""
    values, edges, _ = patch.get_data()
    peak = int(np.argmax(values))
    return f"{patch.get_label()}, highest ({_number(values[peak])}) between {_number(edges[peak])} and {_number(edges[peak + 1])}"


def _bars(ax):
    """Upright bars: how high, and which is the highest; lying ones: how far each name's reach."""
    ends = {}
    for bars in ax.containers:
        if getattr(bars, "orientation", "") == "horizontal":
            for bar in bars:
                place = round(bar.get_y() + bar.get_height() / 2)
                ends[place] = max(ends.get(place, 0), bar.get_x() + bar.get_width())
            continue
        heights, places = [bar.get_height() for bar in bars], _names(ax, "x")
        names = [
            name
            for name in (bars.get_label(), *(bar.get_label() for bar in bars[:1]))
            if not name.startswith("_")
        ]
        if heights and names:
            text = f"{names[0]}, bars of {_number(min(heights))} to {_number(max(heights))}"
            highest = bars[int(np.argmax(heights))]
            name = places.get(round(highest.get_x() + highest.get_width() / 2))
            yield f"{text}, highest at {name}" if name else text
    yield from (f"{name} {_number(ends[place])}" for place, name in _names(ax, "y").items() if place in ends)


def _dots(ax):
    """Dots with the name of their row or the words beside them; of others, how many."""
    points = [tuple(p) for c in ax.collections for p in np.asarray(c.get_offsets(), float)]
    points += [
        tuple(p)
        for line in ax.lines
        if line.get_linestyle() == "None"
        for p in np.asarray(line.get_xydata(), float)
    ]
    rows, beside = (
        _names(ax, "y"),
        {tuple(map(float, t.xy)): t.get_text() for t in ax.texts if hasattr(t, "xy")},
    )
    if rows:
        for place, name in sorted(rows.items(), reverse=bool(np.diff(ax.get_ylim()) > 0)):  # from the top
            if values := [x for x, y in points if round(y) == place]:
                low, high = _number(min(values)), _number(max(values))
                yield f"{name} {low}" + (f" to {high}" if high != low else "")
    elif points and set(points) <= beside.keys():
        yield from (f"{beside[x, y]} at {_number(x)}, {_number(y)}" for x, y in points)
    elif points:
        yield f"{len(points)} {'dot' if len(points) == 1 else 'dots'}"


def _number(value):
    return f"{value:.3g}".replace("-", "−")


def _is_number(text):
    return not any(letter.isalpha() for letter in text.replace("mathdefault", ""))
