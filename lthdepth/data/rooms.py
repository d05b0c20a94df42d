"""Built-in data: pictures of synthetic indoor rooms with exact depth, for machines without NYU Depth V2.

A small ray caster. A room is a box with furniture made of boxes, cylinders and ellipsoids, lit by one lamp
that casts hard shadows; the field of view is that of NYU Depth V2 (focal length 519 px at 640 px width).

Every number is a pure function of (seed, room, view). Per pixel only + - * / sqrt and integers are used,
which IEEE 754 rounds alike everywhere (no sine, power or long sum, whose last bit depends on the processor),
so the frames, and the fingerprint that names them in the records, do not change with the machine.
"""

import math

import numpy as np

from ..errors import UserError
from .furniture import Solid, furnish

FOCAL = 519 / 640  # focal length over image width
NEAREST = 0.65  # metres; a view that sees anything nearer is drawn again
TYPICAL = 1.7  # metres; so is one with a smaller median depth: it looks at a cupboard, not into the room


def render(n, height=120, width=160, seed=0, views=4):
    """The first `n` frames of the synthetic rooms.

    Frame i shows room i // views and does not depend on `n`.

    Args:
        n: number of frames.
        height, width: size of a frame, pixels.
        seed: which rooms.
        views: frames per room, each from another place.

    Returns:
        rgb uint8 `(n, 3, height, width)`; depth float32 `(n, height, width)`, metres along the optical axis,
        all valid; room int64 `(n,)`.

    Raises:
        UserError: `n` or `views` below 1, a side below 8 pixels, or a seed outside [0, 2^63).
    """
    given = {"n": (n, 1), "height": (height, 8), "width": (width, 8), "seed": (seed, 0), "views": (views, 1)}
    for name, (value, least) in given.items():
        if not isinstance(value, (int, np.integer)) or not least <= value < 2**63:
            raise UserError(f"{name} of the rooms must be a whole number, {least} or more; got {value!r}.")
    rgb, depth = np.empty((n, 3, height, width), np.uint8), np.empty((n, height, width), np.float32)
    index = np.arange(n, dtype=np.int64) // views
    for i in range(n):
        if i % views == 0:
            room = furnish(_draws(seed, i // views))
        rng = _draws(seed, i // views, 1 + i % views)
        eye, axes = pose(room, rng)
        rgb[i], depth[i] = photograph(room, eye, axes, height, width, rng)
    return rgb, depth, index


def _draws(seed, room, stream=0):
    return np.random.Generator(np.random.Philox(key=[seed, room], counter=[0, 0, 0, stream]))


def rays(height, width):
    """Viewing rays in camera axes (right, down, forward): float32 `(3, height * width)`.

    The third component is 1, so the ray parameter of a hit is its depth along the optical axis.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    focal = np.float32(FOCAL * width)
    right, down = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    return np.stack([right, down, np.ones_like(x)]).reshape(3, -1)


def hit(shape, origin, direction):
    """First t >= 0 at which origin + t * direction meets a unit solid, inf where it never does.

    The solids are the cube [-1, 1]^3 ("box"), the same seen from inside ("room"), the cylinder of radius 1
    about z with |z| <= 1, and the sphere of radius 1. 0 where the origin is inside a solid.

    Args:
        origin: three numbers.
        direction: `(3, P)`; need not be of unit length.

    Returns:
        `(P,)`.
    """
    spans = []  # a convex solid is an intersection of slabs and round bodies: t must be in all spans
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in {"box": (0, 1, 2), "room": (0, 1, 2), "cylinder": (2,), "sphere": ()}[shape]:
            inverse = 1 / direction[axis]
            a, b = (-1 - origin[axis]) * inverse, (1 - origin[axis]) * inverse
            spans.append((np.minimum(a, b), np.maximum(a, b)))
        if shape in ("cylinder", "sphere"):
            (u, v, w), (x, y, z) = direction, origin
            square, dot, cross = u * u + v * v, x * u + y * v, (x * v - y * u) ** 2
            if shape == "sphere":
                square, dot = square + w * w, dot + z * w
                cross = cross + (y * w - z * v) ** 2 + (z * u - x * w) ** 2
            # |o x d|^2 instead of |o|^2 |d|^2 - (o d)^2: thin legs far away would drown in the cancellation
            root = np.sqrt(square - cross)
            spans.append(((-dot - root) / square, (-dot + root) / square))
        enter, leave = spans[0]
        for a, b in spans[1:]:
            enter, leave = np.maximum(enter, a), np.minimum(leave, b)
        if shape == "room":
            return leave
        enter = np.maximum(enter, 0)
        return np.where(enter <= leave, enter, np.inf)  # a ray beside a round body has NaN here: a miss


def _local(solid, vector):
    """World vectors (x, y, z) in the axes of a solid, in metres."""
    (c, s), (x, y, z) = solid.turn, vector
    return c * x + s * y, c * y - s * x, z


def _meet(solid, eye, direction):
    half = [np.float32(h) for h in solid.half]
    origin = [np.float32(v / h) for v, h in zip(_local(solid, np.subtract(eye, solid.centre)), solid.half)]
    return hit(solid.shape, origin, [v / h for v, h in zip(_local(solid, direction), half)])


def cast(pieces, eye, direction):
    """Nearest hit of rays from `eye` (three metres) along `direction` `(3, P)`.

    Returns:
        t `(P,)` and index `(P,)` of the solid, counted through the parts of all pieces; inf, -1 for a miss.
    """
    best, which, count = np.full(direction.shape[1], np.inf, np.float32), np.full(direction.shape[1], -1), 0
    for bound, parts in pieces:
        at = np.flatnonzero(_meet(bound, eye, direction) < best)
        some = direction[:, at]
        for index, solid in enumerate(parts, count):
            t = _meet(solid, eye, some)
            nearer = t < best[at]
            best[at[nearer]], which[at[nearer]] = t[nearer], index
        count += len(parts)
    return best, which


def shell(room):
    """The pieces of a room, its walls first."""
    half = tuple(side / 2 for side in room.size)
    walls = Solid("room", half, half)
    return [(walls, [walls]), *room.pieces]


def pose(room, rng):
    """Draw a camera near a wall, looking into the room, with nothing close before it.

    Returns:
        eye (three metres) and axes `(3, 3)`: right, down and forward as rows, in room coordinates.
    """
    (x, y, _), choices = room.size, []
    probe = rays(36, 48) * np.float32([[1.08], [1.08], [1]])  # a little wider than a 4:3 frame
    for _ in range(60):
        side, along, gap, height, yaw, pitch, roll, tx, ty = rng.random(9)
        along, gap = 0.12 + 0.76 * along, 0.3 + 0.7 * gap
        eye = [(along * x, gap), (x - gap, along * y), (along * x, y - gap), (gap, along * y)][int(4 * side)]
        eye = (*eye, 1.2 + 0.5 * height)
        yaw = math.atan2((0.25 + 0.5 * ty) * y - eye[1], (0.25 + 0.5 * tx) * x - eye[0]) + 0.6 * (yaw - 0.5)
        pitch, roll = -0.2 + 0.28 * (pitch - 0.5), 0.08 * (roll - 0.5)
        ahead = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
        level = np.array([math.sin(yaw), -math.cos(yaw), 0])
        below = np.cross(ahead, level)
        right = math.cos(roll) * level + math.sin(roll) * below
        axes = np.stack([right, np.cross(ahead, right), ahead])
        seen = np.sort(cast(shell(room), eye, _world(axes, probe))[0])
        quality = min(seen[0] / NEAREST, seen[len(seen) // 2] / TYPICAL)
        choices.append((quality, len(choices), eye, axes))
        if quality >= 1:
            break
    return max(choices)[2:]


def _world(axes, vector):
    axes = axes.astype(np.float32)  # no matrix product: its order of additions depends on the library
    return vector[0] * axes[0][:, None] + vector[1] * axes[1][:, None] + vector[2] * axes[2][:, None]


def photograph(room, eye, axes, height, width, rng):
    """rgb uint8 `(3, height, width)` and depth float32 `(height, width)` of a room from a `pose`."""
    direction = _world(axes, rays(height, width))
    depth, which = cast(shell(room), eye, direction)
    point = np.float32(eye)[:, None] + depth * direction
    colour, normal, glow = _surfaces(room, which, point)
    lamp = np.float32(room.lamp)[:, None]
    beam = point - lamp
    square = (beam * beam).sum(0)
    facing = np.maximum(-(beam * normal).sum(0) / np.sqrt(square), 0)
    casters = [(bound, [s for s in parts if not s.material.glow]) for bound, parts in room.pieces]
    lit = cast(casters, room.lamp, beam)[0] > 0.995
    walls = np.minimum(point, np.float32(room.size)[:, None] - point)
    corner = np.minimum(np.sort(walls, 0)[1] / 0.7, 1)  # corners see less of the room: less stray light
    light = (0.22 + 0.1 * normal[2]) * (0.55 + 0.45 * corner) + lit * facing * 2 / (1 + square / 5)
    picture = colour * np.where(glow, 1.3, light)
    exposure = 0.26 * (0.75 + 0.5 * rng.random()) / max(float(np.median(picture[1])), 0.02)
    warmth = 0.9 + 0.2 * rng.random((3, 1))
    x, y, _ = rays(height, width)
    picture = picture * (exposure * warmth).astype(np.float32) * (1 - 0.4 * (x * x + y * y))
    grain = rng.random(picture.shape, np.float32) + rng.random(picture.shape, np.float32) - 1
    picture = np.sqrt(np.clip(picture, 0, 1)) + 0.025 * grain
    rgb = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rgb.reshape(3, height, width), depth.reshape(height, width)


def _surfaces(room, which, point):
    """Albedo `(3, P)`, outward normal `(3, P)` and glow `(P,)` at the points seen."""
    colour, normal = np.zeros_like(point), np.zeros_like(point)
    glow, solids = np.zeros(point.shape[1], bool), [solid for _, parts in shell(room) for solid in parts]
    for i in np.unique(which):
        solid, at = solids[i], np.flatnonzero(which == i)
        metres = np.stack(_local(solid, point[:, at] - np.float32(solid.centre)[:, None]))
        unit = metres / np.float32(solid.half)[:, None]
        n = _normal(solid.shape, unit) / np.float32(solid.half)[:, None]
        n = n / np.sqrt((n * n).sum(0))
        c, s = solid.turn
        normal[:, at] = np.stack([c * n[0] - s * n[1], c * n[1] + s * n[0], n[2]])
        if solid.material:
            colour[:, at], glow[at] = paint(solid.material, metres), solid.material.glow
    for (axis, high), material in room.faces.items():
        at = np.flatnonzero((which == 0) & (normal[axis] == (-1 if high else 1)))
        u, v = np.delete(point[:, at], axis, 0)
        across = np.stack([u, v, np.full_like(u, 0.5)])
        colour[:, at] = paint(material, across)
        for _, (u0, u1, v0, v1), border, inner, outer in (p for p in room.panels if p[0] == (axis, high)):
            edge = np.minimum.reduce([u - u0, u1 - u, v - v0, v1 - v])
            for inside, m in ((edge > 0, outer), (edge > border, inner)):
                colour[:, at[inside]], glow[at[inside]] = paint(m, across[:, inside]), m.glow
    return colour, normal, glow


def _normal(shape, unit):
    size = np.abs(unit)
    if shape == "sphere":
        return unit
    if shape == "cylinder":
        lid = size[2] > np.sqrt(unit[0] * unit[0] + unit[1] * unit[1])
        return np.where(lid, [[0], [0], [1]] * np.sign(unit), [[1], [1], [0]] * unit)
    return np.where(size == size.max(0), np.sign(unit), 0) * (-1 if shape == "room" else 1)


def paint(material, p):
    """Albedo `(3, P)` of a material at the points `p` `(3, P)`, metres in the axes of its solid."""
    a, b = np.float32(material.a)[:, None], np.float32(material.b)[:, None]
    q = p / np.float32(material.size)
    cell = np.floor(q).astype(np.int64)
    if material.pattern == "books":
        return a + (b - a) * np.stack([_hash(cell[0], k) for k in range(3)])
    mix = {
        "plain": lambda: np.zeros_like(q[0]),
        "stripes": lambda: (q[0] - cell[0] < 0.5).astype(np.float32),
        "wood": lambda: 0.5 * _hash(cell[1]) + 0.5 * _noise(p * np.float32([[2.5], [22], [22]])),
        "checker": lambda: ((cell[0] + cell[1]) % 2).astype(np.float32),
        "tiles": lambda: np.where(((q - cell)[:2] < 0.05).any(0), 1, 0.25 * _hash(cell[0], cell[1])),
        "noise": lambda: _noise(q),
    }[material.pattern]()
    return a + (b - a) * mix


def _hash(x, y=0, z=0):
    """A float32 in [0, 1) for every lattice point, the same for the same integers."""
    h = (x * 73856093 ^ y * 19349663 ^ z * 83492791) & 0xFFFFFFFF
    h = ((h ^ h >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
    h = ((h ^ h >> 12) * 0x297A2D39) & 0xFFFFFFFF
    return ((h ^ h >> 15) >> 8).astype(np.float32) / np.float32(2**24)


def _noise(p):
    """Value noise in [0, 1): hashes of the lattice, interpolated between its points."""
    cell = np.floor(p).astype(np.int64)
    f = p - cell.astype(np.float32)
    f, total = f * f * (3 - 2 * f), 0
    for i, j, k in np.ndindex(2, 2, 2):
        weight = np.abs(1 - i - f[0]) * np.abs(1 - j - f[1]) * np.abs(1 - k - f[2])
        total = total + weight * _hash(cell[0] + i, cell[1] + j, cell[2] + k)
    return total
