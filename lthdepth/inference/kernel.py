"""The product with a sparse matrix that numba compiles: convolutions of few weights on a CPU. Needs the package numba.

Its threads are others than torch's, and those wait for work at full speed for a while: hence `pack` in here too.
"""

import numba
import numpy as np

LONGEST = 2304  # positions of a run that are summed at a time, by measurement; the sum, 9 kB, stays in the first-level cache


@numba.njit(parallel=True, cache=True)
def pack(x, before, stride, out):
    """A picture with its padding written out, its pixels sorted by their remainders: as `sparse.Packing.pack`.

    Args:
        x: `(C, H, W)` float32. before: pixels of padding above and on the left.
        out: `(C, remainders, remainders, rows, pitch)`, written: pixel `(stride * row + a, stride * column + b)`, counted
            from the padding's corner, at `[:, a, b, row, column]`, zeros outside of the picture.
    """
    channels, height, width = x.shape
    _, planes, _, rows, pitch = out.shape
    for c in numba.prange(channels):
        for a in range(planes):
            for b in range(planes):
                first = max(0, -((b - before) // stride))  # columns from here to last are the picture's
                last = min(pitch, (width - 1 - b + before) // stride + 1)
                for row in range(rows):
                    to, i = out[c, a, b, row], row * stride + a - before
                    if i < 0 or i >= height:
                        to[:] = 0
                        continue
                    to[:first] = 0
                    to[last:] = 0
                    for column in range(first, last):
                        to[column] = x[c, i, column * stride + b - before]


# No NaN or infinity is assumed away: only the order of additions is free.
@numba.njit(parallel=True, fastmath={"contract", "reassoc"}, cache=True)
def product(x, start, offset, value, bias, shortcut, relu, pitch, width, n, out):
    """A convolution as sums of shifted runs of memory: out[o, t] = bias[o] + sum_i value[i] x[offset[i] + t].

    Eight weights are applied to a run of positions at a time; the sum stays in the cache.

    Args:
        x: `(floats,)` float32, the packed input (see `sparse.Packing`).
        start: `(O + 1,)`; the weights of output channel o are `value[start[o]:start[o + 1]]`, and `offset` alike; a multiple of four.
        offset: `(weights,)` int64, where in `x` the run of a weight begins.
        bias: `(O,)`; shortcut: `(O, positions)`, added, or `(0, 0)` for none; relu: clamp at 0 in the end.
        pitch, width: of `pitch` neighbouring positions t, `width` belong to the output; the rest is left out.
        n: number of positions t.
        out: `(O, positions)`, written.
    """
    channels, tiles = len(start) - 1, (n + LONGEST - 1) // LONGEST
    tile = (
        ((n + tiles - 1) // tiles + 7) // 8 * 8
    )  # all of one size: what is left over would take nearly as long
    parts = min(channels, 16)  # of the output channels, so that small pictures keep all cores busy too
    low = np.float32(0 if relu else -np.inf)
    if pitch == width:
        pitch = width = n  # nothing lies between rows: all are one
    for task in numba.prange(tiles * parts):
        a = task // parts * tile
        m = min(tile, n - a)
        total = np.empty(m, np.float32)
        for o in range(task % parts * channels // parts, (task % parts + 1) * channels // parts):
            total[:] = bias[o]
            i, end = start[o], start[o + 1]
            while i + 8 <= end:
                x0, x1 = x[offset[i] + a : offset[i] + a + m], x[offset[i + 1] + a : offset[i + 1] + a + m]
                x2, x3 = (
                    x[offset[i + 2] + a : offset[i + 2] + a + m],
                    x[offset[i + 3] + a : offset[i + 3] + a + m],
                )
                x4, x5 = (
                    x[offset[i + 4] + a : offset[i + 4] + a + m],
                    x[offset[i + 5] + a : offset[i + 5] + a + m],
                )
                x6, x7 = (
                    x[offset[i + 6] + a : offset[i + 6] + a + m],
                    x[offset[i + 7] + a : offset[i + 7] + a + m],
                )
                w0, w1, w2, w3 = value[i], value[i + 1], value[i + 2], value[i + 3]
                w4, w5, w6, w7 = value[i + 4], value[i + 5], value[i + 6], value[i + 7]
                for j in range(m):
                    total[j] += (w0 * x0[j] + w1 * x1[j] + w2 * x2[j] + w3 * x3[j]) + (
                        w4 * x4[j] + w5 * x5[j] + w6 * x6[j] + w7 * x7[j]
                    )
                i += 8
            if i < end:
                x0, x1 = x[offset[i] + a : offset[i] + a + m], x[offset[i + 1] + a : offset[i + 1] + a + m]
                x2, x3 = (
                    x[offset[i + 2] + a : offset[i + 2] + a + m],
                    x[offset[i + 3] + a : offset[i + 3] + a + m],
                )
                w0, w1, w2, w3 = value[i], value[i + 1], value[i + 2], value[i + 3]
                for j in range(m):
                    total[j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
            j = 0
            while j < m:  # row by row of the output, without what lies between rows
                row, column = (a + j) // pitch, (a + j) % pitch
                size = max(0, min(m - j, width - column))
                to = row * width + column
                y, s = out[o, to : to + size], total[j : j + size]
                if len(shortcut):
                    r = shortcut[o, to : to + size]
                    for q in range(size):
                        y[q] = max(s[q] + r[q], low)
                else:
                    for q in range(size):
                        y[q] = max(s[q], low)
                j += pitch - column
