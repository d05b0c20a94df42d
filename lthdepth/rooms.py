"""Built-in data: pictures of synthetic indoor rooms with their exact depth, for machines without NYU Depth V2.

A small ray caster. A room is a box with furniture made of boxes, cylinders and ellipsoids, lit by one lamp that casts
hard shadows; the camera has the field of view of NYU Depth V2 (focal length 519 px at 640 px width).

Every number is a pure function of (seed, room, view). What is computed per pixel uses only + - * / sqrt and integers,
which IEEE 754 rounds alike everywhere: no sine, power or sum whose last bit depends on the processor, so that the frames,
and the fingerprint that names them in the records, are the same on every machine.
"""

import math
from typing import NamedTuple

import numpy as np

from .errors import UserError

FOCAL = 519 / 640  # focal length over image width
NEAREST = 0.65  # metres; a view that sees anything nearer is drawn again


class Material(NamedTuple):
    """A texture between colours `a` and `b` (linear RGB, 0..1) with a feature size in metres; `glow` needs no light."""

    pattern: str  # plain | stripes | wood | checker | tiles | noise | books
    a: tuple
    b: tuple
    size: float = 0.1
    glow: bool = False


class Solid(NamedTuple):
    """A unit solid (see `hit`), scaled by `half` (metres), turned about the vertical, moved to `centre` (metres)."""

    shape: str  # box | cylinder | sphere | room
    centre: tuple
    half: tuple
    turn: tuple = (1.0, 0.0)  # cosine and sine of the angle
    material: Material | None = None


class Room(NamedTuple):
    """One room: x and y along the floor, z up, metres, a corner of the floor at the origin."""

    size: tuple  # (x, y, z)
    pieces: list  # of (bound, parts): Solids, and a sphere around them that spares most rays the parts
    faces: dict  # (axis, high side?) -> Material
    panels: list  # flat things on walls: (face, (u0, u1, z0, z1), border, Material, Material of the border)
    lamp: tuple  # position of the light


def render(n, height=120, width=160, seed=0, views=4):
    """The first `n` frames of the synthetic rooms.

    Frame i shows room i // views and does not depend on `n`.

    Args:
        n: number of frames.
        height, width: size of a frame, pixels.
        seed: which rooms.
        views: frames per room, each from another place.

    Returns:
        rgb uint8 `(n, 3, height, width)`; depth float32 `(n, height, width)`, metres along the optical axis, every
        pixel valid; room int64 `(n,)`.

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


# Rays


def rays(height, width):
    """Viewing rays in camera axes (right, down, forward): float32 `(3, height * width)`, the third component 1.

    With that length the ray parameter of a hit is its depth along the optical axis.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    focal = np.float32(FOCAL * width)
    right, down = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    return np.stack([right, down, np.ones_like(x)]).reshape(3, -1)


def hit(shape, origin, direction):
    """First t >= 0 at which origin + t * direction meets a unit solid, inf where it never does.

    The solids are the cube [-1, 1]^3 ("box"), the same seen from inside ("room"), the cylinder of radius 1 about z
    with |z| <= 1, and the sphere of radius 1; 0 where the origin is inside a solid.

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
                square, dot, cross = square + w * w, dot + z * w, cross + (y * w - z * v) ** 2 + (z * u - x * w) ** 2
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
        t `(P,)` and the index `(P,)` of the solid, counted through the parts of all pieces; -1 with t inf for a miss.
    """
    best, which, count = np.full(direction.shape[1], np.inf, np.float32), np.full(direction.shape[1], -1), 0
    for bound, parts in pieces:
        at = np.flatnonzero(_meet(bound, eye, direction) < best)
        some = direction[:, at]
        for count, solid in enumerate(parts, count):
            t = _meet(solid, eye, some)
            nearer = t < best[at]
            best[at[nearer]], which[at[nearer]] = t[nearer], count
        count += 1
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
    choices, probe, (x, y, _) = [], rays(24, 32), room.size
    for _ in range(60):
        side, along, gap, height, yaw, pitch, roll, tx, ty = rng.random(9)
        along, gap = 0.12 + 0.76 * along, 0.3 + 0.7 * gap
        eye = [(along * x, gap), (x - gap, along * y), (along * x, y - gap), (gap, along * y)][int(4 * side)]
        eye = (*eye, 1.2 + 0.5 * height)
        yaw = math.atan2((0.25 + 0.5 * ty) * y - eye[1], (0.25 + 0.5 * tx) * x - eye[0]) + 0.6 * (yaw - 0.5)
        pitch, roll = -0.14 + 0.28 * (pitch - 0.5), 0.08 * (roll - 0.5)
        ahead = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
        level = np.array([math.sin(yaw), -math.cos(yaw), 0])
        below = np.cross(ahead, level)
        right, down = (math.cos(roll) * level + math.sin(roll) * below, math.cos(roll) * below - math.sin(roll) * level)
        axes = np.stack([right, down, ahead])
        nearest = cast(shell(room), eye, _world(axes, probe))[0].min()
        choices.append((nearest, len(choices), eye, axes))
        if nearest >= NEAREST:
            break
    return max(choices)[2:]


def _world(axes, vector):
    axes = axes.astype(np.float32)  # written out: a matrix product's order of additions depends on the library
    return vector[0] * axes[0][:, None] + vector[1] * axes[1][:, None] + vector[2] * axes[2][:, None]


# Pictures


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
        "tiles": lambda: np.where(((q - cell)[:2] < 0.05).any(0), np.float32(1), 0.25 * _hash(cell[0], cell[1])),
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


# Rooms

# Half width, half depth and height in metres, each (from, to); then the parts, by rows: shape, from and to across, from
# back to front and upwards, as fractions of those, material. A row with *2 stands for two parts, mirrored left and
# right, one with *4 for four, mirrored to the front as well.
FURNITURE = {
    "bed": ((0.5, 0.9), (1.03, 1.03), (0.9, 1.0), """
        box -1 1 -1 -.95 0 1 wood;  box -1 1 -.95 1 .08 .3 wood;  box -.98 .98 -.95 .98 .3 .5 white
        box -1 1 -.4 1 .28 .54 cloth;  sphere*2 .08 .92 -.93 -.55 .48 .68 white"""),
    "sofa": ((0.5, 1.05), (0.45, 0.45), (0.85, 0.85), """
        box -1 1 -1 -.5 .05 1 cloth;  box -1 1 -.5 .9 .05 .35 cloth;  box*2 .85 1 -1 1 .05 .75 cloth
        box*2 .01 .84 -.5 .95 .36 .54 cloth;  sphere -.8 -.3 -.6 -.2 .5 .95 cloth2"""),
    "wardrobe": ((0.5, 0.9), (0.3, 0.3), (1.8, 2.1), """
        box -1 1 -1 .9 0 1 wood;  box*2 .02 .97 .9 1 .04 .97 wood2;  sphere*2 .05 .12 .9 1.1 .5 .52 plain"""),
    "dresser": ((0.4, 0.9), (0.25, 0.25), (0.8, 0.9), """
        box -1 1 -1 .9 0 1 plain;  box*2 .02 .97 .9 1 .06 .33 plain2;  box*2 .02 .97 .9 1 .37 .64 plain2
        box*2 .02 .97 .9 1 .68 .95 plain2;  cylinder .3 .6 -.4 .4 1 1.3 plain3"""),
    "television": ((0.5, 0.8), (0.22, 0.22), (0.5, 0.5), """
        box -1 1 -1 1 .1 1 wood;  box -.7 .7 -.1 .1 1.15 2.2 screen;  box -.3 .3 -.3 .3 1 1.15 screen"""),
    "bookshelf": ((0.35, 0.55), (0.15, 0.15), (1.2, 2.0), """
        box -1 1 -1 -.9 0 1 wood;  box*2 .94 1 -1 1 0 1 wood;  box -1 1 -1 1 0 .02 wood;  box -1 1 -1 1 .98 1 wood
        box -1 1 -1 1 .24 .26 wood;  box -1 1 -1 1 .49 .51 wood;  box -1 1 -1 1 .74 .76 wood
        box -.9 .4 -.9 .6 0 .18 books;  box -.2 .9 -.9 .6 .26 .43 books;  box -.9 .8 -.9 .6 .51 .7 books
        box -.5 .9 -.9 .6 .76 .92 books"""),
    "chair": ((0.21, 0.23), (0.22, 0.22), (0.9, 0.95), """
        box -1 1 -1 1 .46 .51 cloth;  box -1 1 -1 -.85 .65 1 cloth;  cylinder*4 .8 .97 .8 .97 0 .46 wood
        cylinder*2 .8 .95 -.98 -.86 .5 .98 wood"""),
    "dining table": ((0.6, 0.9), (0.7, 0.75), (0.74, 0.74), """
        box -1 1 -.4 1 .95 1 wood;  cylinder*2 .9 .97 -.35 -.28 0 .95 wood;  cylinder*2 .9 .97 .88 .95 0 .95 wood
        sphere -.1 .15 .2 .5 1 1.25 plain;  box*2 .25 .75 -.95 -.35 .58 .64 cloth
        box*2 .25 .75 -1 -.93 .85 1.25 cloth;  cylinder*2 .26 .31 -.98 -.93 0 1.22 wood
        cylinder*2 .69 .74 -.98 -.93 0 1.22 wood;  cylinder*2 .26 .31 -.42 -.37 0 .58 wood"""),
    "low table": ((0.4, 0.6), (0.3, 0.4), (0.42, 0.42), """
        box -1 1 -1 1 .9 1 wood;  cylinder*4 .85 .95 .85 .95 0 .9 wood;  box -.5 0 -.4 .3 1 1.1 books"""),
    "floor lamp": ((0.2, 0.2), (0.2, 0.2), (1.6, 1.9), """
        cylinder -.7 .7 -.7 .7 0 .02 plain;  cylinder -.08 .08 -.08 .08 0 .9 plain;  cylinder -1 1 -1 1 .84 1 glow"""),
    "plant": ((0.25, 0.35), (0.25, 0.35), (0.8, 1.5), """
        cylinder -.5 .5 -.5 .5 0 .25 plain;  cylinder -.06 .06 -.06 .06 .2 .7 wood
        sphere -.9 .5 -.6 .8 .25 .6 leaf;  sphere -.5 1 -.9 .5 .4 .8 leaf;  sphere -.7 .6 -.4 .9 .65 1 leaf"""),
    "bin": ((0.13, 0.2), (0.13, 0.2), (0.3, 0.5), "cylinder -1 1 -1 1 0 1 plain"),
    "ball": ((0.15, 0.3), (0.15, 0.3), (0.3, 0.6), "sphere -1 1 -1 1 0 1 cloth"),
    "crate": ((0.2, 0.4), (0.2, 0.3), (0.25, 0.5), "box -1 1 -1 1 0 1 wood"),
    "pillar": ((0.15, 0.4), (0.15, 0.4), (3, 3), "box -1 1 -1 1 0 1 wall"),
}
LOOSE = {"chair", "dining table", "low table", "ball", "crate"}  # may stand free, turned; the others are at a wall


def furnish(rng):
    """Draw a room: size, wallpaper, floor, pictures, windows and doors, furniture that does not overlap, and lamp."""

    def between(low, high):
        return low + (high - low) * rng.random()

    def pick(things):
        return things[int(len(things) * rng.random())]

    def tint(low, high, spread):
        grey = between(low, high)
        return tuple(min(max(grey * (1 + between(-spread, spread)), 0.02), 0.95) for _ in range(3))

    def material(name):
        tone, pale, dye = between(0.15, 0.75), tint(0.6, 0.9, 0.08), tint(0.1, 0.6, 0.6)
        faded, any_colour = tuple(c * between(0.4, 1) for c in dye), tint(0.08, 0.8, 0.3)
        cloth = pick(["plain", "noise", "noise", "stripes", "checker"])
        dark, stone = (0.6 * tone, 0.34 * tone, 0.14 * tone), tint(0.25, 0.7, 0.2)
        return {
            "wood": Material("wood", (tone, between(0.5, 0.7) * tone, 0.3 * tone), dark, between(0.1, 0.3)),
            "cloth": Material(cloth, dye, faded, between(0.06, 0.2)),
            "carpet": Material("noise", dye, faded, 0.03),
            "picture": Material("noise", tint(0.1, 0.9, 0.9), tint(0.1, 0.9, 0.9), between(0.05, 0.3)),
            "plain": Material("plain", any_colour, any_colour),
            "white": Material("plain", pale, pale),
            "wall": Material(pick(["plain", "plain", "stripes", "noise"]), pale, tint(0.3, 0.7, 0.15), between(0.1, 0.4)),
            "checker": Material("checker", stone, tint(0.1, 0.4, 0.2), between(0.25, 0.5)),
            "tiles": Material("tiles", stone, tint(0.1, 0.2, 0.2), between(0.3, 0.6)),
            "books": Material("books", (0.03, 0.03, 0.03), (0.8, 0.6, 0.5), 0.045),
            "screen": Material("plain", (0.02, 0.02, 0.03), (0, 0, 0)),
            "leaf": Material("noise", (0.03, 0.1, 0.02), (0.2, 0.45, 0.1), 0.04),
            "glow": Material("plain", (0.95, 0.85, 0.65), (0, 0, 0), glow=True),
        }[name]

    def build(name, x, y, cos, sin, half):
        """The piece of furniture `name`, `half` = (half width, half depth, height), with its centre at (x, y)."""
        used, parts = {"wall": paper}, []
        for row in FURNITURE[name][3].replace(";", "\n").strip().splitlines():
            shape, *spans, stuff = row.split()
            if stuff not in used:
                used[stuff] = material(stuff.rstrip("23"))
            x0, x1, y0, y1, z0, z1 = (float(v) * half[i // 2] for i, v in enumerate(spans))
            u, v, size = (x0 + x1) / 2, (y0 + y1) / 2, ((x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2)
            for a, b in [(1, 1), (-1, 1), (1, -1), (-1, -1)][: int(shape[-1]) if "*" in shape else 1]:
                centre = (x + cos * a * u - sin * b * v, y + sin * a * u + cos * b * v, (z0 + z1) / 2)
                parts.append(Solid(shape.split("*")[0], centre, size, (cos, sin), used[stuff]))
        middle, radius = (x, y, half[2] / 2), 0.0
        for part in parts:
            radius = max(radius, math.dist(middle, part.centre) + math.hypot(*part.half))
        return Solid("sphere", middle, (radius,) * 3), parts

    size = tuple(2.8 + 5 * rng.random() * rng.random() * rng.random() for _ in range(2)) + (between(2.4, 3.0),)
    paper, trim, frame = material("wall"), material("plain"), material(pick(["wood", "white", "plain"]))
    walls = [(axis, high) for axis in (0, 1) for high in (False, True)]
    ground = material(pick(["wood", "wood", "checker", "tiles", "carpet"]))
    faces = dict.fromkeys(walls, paper) | {(2, False): ground, (2, True): material("white")}
    panels = []
    for face in walls:
        length = size[1 - face[0]]
        panels.append((face, (0, length, 0, 0.09), 0, trim, trim))
        for i in range(int((length - 0.2) / 1.3)):
            u, w, z, h = 0.75 + 1.3 * i, between(0.2, 0.5), between(1.2, 1.4), between(0.3, 0.8)
            panels += {
                "nothing": [],
                "picture": [(face, (u - w, u + w, z, z + h), 0.04, material("picture"), frame)],
                "window": [(face, (u + x - 0.3, u + x + 0.3, 0.9, 2.1), 0.05, material("glow"), trim) for x in (-0.28, 0.28)],
                "door": [(face, (u - 0.48, u + 0.48, 0, 2.05), 0.07, frame, trim)],
            }[pick(["nothing", "picture", "picture", "window", "door"])]
    pieces, taken = [], []
    for _ in range(int(8 + size[0] * size[1] / 2)):
        name, scale, side = pick(list(FURNITURE)), rng.random(), pick(range(4))
        w, d, h = half = [low + scale * (high - low) for low, high in FURNITURE[name][:3]]
        loose = name in LOOSE and rng.random() < 0.7
        angle = side * math.pi / 2 + loose * between(-0.5, 0.5)
        c, s = math.cos(angle), math.sin(angle)
        p, q = abs(c) * w + abs(s) * d + 0.02, abs(s) * w + abs(c) * d + 0.02
        x, y = between(p, size[0] - p), between(q, size[1] - q)
        if not loose:
            x, y = [(x, q), (size[0] - p, y), (x, size[1] - q), (p, y)][side]
        crowded = any(abs(x - a) < p + e and abs(y - b) < q + f for a, b, e, f in taken)
        if not crowded and 2 * p < size[0] - 1 and 2 * q < size[1] - 1:
            taken.append((x, y, p, q))
            pieces.append(build(name, x, y, c, s, half))
    light = (size[0] * between(0.35, 0.65), size[1] * between(0.35, 0.65), size[2] - 0.45)
    bulb = Solid("sphere", light, (0.16, 0.16, 0.16), material=material("glow"))
    return Room(size, [*pieces, (bulb, [bulb])], faces, panels, light)
