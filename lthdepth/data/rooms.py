"""Built-in data: pictures of synthetic indoor rooms with exact depth, for machines without NYU Depth V2.

A small ray caster. Everything is a box: walls, what hangs on them, what stands before them. One lamp casts
hard shadows; the field of view is that of NYU Depth V2.

Every number is a pure function of (seed, room, view). Per pixel only + - * / sqrt and integers are used,
which IEEE 754 rounds alike everywhere (no sine, power or long sum, whose last bit depends on the processor),
so the frames, and the fingerprint that names them in the records, do not change with the machine.
"""

import math
from typing import NamedTuple

import numpy as np

FOCAL = 519 / 640  # focal length over image width, of NYU Depth V2
NEAREST, TYPICAL = 0.65, 1.7  # metres; a view of a smaller least or median depth is drawn again

# Hue, brightness from and to, spread of hue, brightness of the second colour, size of features in metres.
MATERIALS = {
    "wood": ((1, 0.6, 0.3), 0.2, 0.7, 0.05, 0.7, 0.1),
    "cloth": ((1, 1, 1), 0.1, 0.6, 0.6, 0.7, 0.08),
    "tiles": ((1, 1, 1), 0.3, 0.8, 0.2, 0.4, 0.4),
    "paper": ((1, 1, 1), 0.5, 0.9, 0.1, 0.9, 0.3),
    "white": ((1, 1, 1), 0.6, 0.9, 0.08, 1, 1),
    "paint": ((1, 1, 1), 0.1, 0.6, 0.6, 1, 1),
    "books": ((1, 0.7, 0.6), 0.9, 0.9, 0.3, 0.1, 0.06),
    "picture": ((1, 1, 1), 0.3, 0.9, 0.8, 0.3, 0.12),
    "leaf": ((0.4, 0.9, 0.2), 0.5, 0.5, 0.1, 0.2, 0.05),
    "glow": ((0.95, 0.9, 0.8), 0.9, 1, 0.1, 1, 1),  # needs no light
}

# Half width, half depth and height in metres, from and to; then the boxes: extent across, from back to front
# and upwards as fractions of those sizes, material. *2: mirrored to the right; *4: to the front as well.
PIECES = """
bed .5 .9 1.03 1.03 .9 1; -1 1 -1 -.95 0 1 wood; -1 1 -.95 1 .08 .3 wood; -1 1 -.95 1 .3 .5 white
sofa .5 1 .45 .45 .85 .85; -1 1 -1 -.5 .05 1 cloth; -1 1 -.5 .9 .05 .5 cloth; .85 1 -1 1 .05 .75 cloth*2
wardrobe .5 .9 .3 .3 1.8 2.1; -1 1 -1 .9 0 1 wood; .02 .97 .9 1 .04 .97 wood*2
dresser .4 .9 .25 .25 .8 .9; -1 1 -1 .9 0 1 paint; .02 .97 .9 1 .06 .95 paint*2
shelf .35 .5 .2 .2 1 2; -1 1 -1 -.9 0 1 wood; .9 1 -1 1 0 1 wood*2; -1 1 -1 1 0 .3 wood; -1 1 -1 0 .3 .7 books
lamp .2 .2 .2 .2 1.6 1.9; -.7 .7 -.7 .7 0 .02 paint; -.1 .1 -.1 .1 0 .85 paint; -1 1 -1 1 .8 1 glow
plant .25 .35 .25 .35 .8 1.5; -.5 .5 -.5 .5 0 .3 paint; -.9 .5 -.6 .8 .3 .7 leaf; -.6 .9 -.9 .5 .5 1 leaf
chair .21 .23 .22 .22 .9 .95; -1 1 -1 1 .46 .51 cloth; -1 1 -1 -.85 .5 1 cloth; .8 1 .8 1 0 .46 wood*4
table .4 .9 .3 .5 .42 .75; -1 1 -1 1 .93 1 wood; .85 .95 .85 .95 0 .93 wood*4; -.1 .2 -.3 .2 1 1.2 paint
crate .2 .4 .2 .3 .25 .5; -1 1 -1 1 0 1 wood
""".strip().splitlines()
LOOSE = ("chair", "table", "crate")  # stand free, turned; others at a wall


class Box(NamedTuple):
    """A box with half its sides in metres, turned about the vertical."""

    centre: np.ndarray
    half: np.ndarray
    material: tuple  # two colours (linear RGB, 0..1) in squares of a size in metres, and whether it glows
    turn: tuple = (1.0, 0.0)  # cosine and sine of the angle


class Room(NamedTuple):
    """x and y along the floor, z up, metres, a corner of the floor at the origin."""

    size: np.ndarray
    boxes: list
    lamp: np.ndarray  # where the light comes from


def _pick(rng, things):
    return things[int(len(things) * rng.random())]


def _material(rng, name):
    hue, low, high, spread, second, size = MATERIALS[name]
    a = np.clip(rng.uniform(low, high) * rng.uniform(1 - spread, 1 + spread, 3) * hue, 0.02, 0.95)
    return a, second * a, size * rng.uniform(0.7, 1.3), name == "glow"


def furnish(rng):
    """Draw a room: its size, surfaces, what hangs on the walls, pieces that do not overlap, the lamp."""
    size = 2.6 + np.array([6, 6, 0.4]) * rng.random(3) * [rng.random(), rng.random(), 1]
    boxes, taken = _shell(rng, size), []
    for _ in range(int(8 + size[0] * size[1] / 2)):
        sizes, *parts = _pick(rng, PIECES).split(";")
        name, *sizes = sizes.split()
        half, side = rng.uniform(*np.float64(sizes).reshape(3, 2).T), int(4 * rng.random())
        angle = side * math.pi / 2 + (rng.uniform(-0.5, 0.5) if name in LOOSE else 0)
        turn = c, s = math.cos(angle), math.sin(angle)
        reach = half[0] * np.abs([c, s]) + half[1] * np.abs([s, c]) + 0.02
        if (2 * reach > size[:2] - 1).any():
            continue
        place, axis = rng.uniform(reach, size[:2] - reach), 1 - side % 2
        if name not in LOOSE:  # its back to a wall
            place[axis] = reach[axis] if side in (0, 3) else size[axis] - reach[axis]
        if not any((np.abs(place - other) < reach + extent).all() for other, extent in taken):
            taken.append((place, reach))
            boxes += [box for part in parts for box in _part(rng, part.split(), place, half, turn)]
    lamp = size * [rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65), 0.83]
    return Room(size, [*boxes, Box(lamp, np.full(3, 0.12), _material(rng, "glow"))], lamp)


def _shell(rng, size):
    """Floor, ceiling and walls as thick slabs around the room, with pictures, windows and doors."""
    boxes, paper = [], _material(rng, "paper")
    for axis, high in np.ndindex(3, 2):
        centre, half = size / 2, size / 2 + 1
        centre[axis], half[axis] = size[axis] + 0.5 if high else -0.5, 0.5
        level = _material(rng, "white" if high else _pick(rng, ["wood", "tiles", "cloth"]))
        boxes.append(Box(centre, half, paper if axis < 2 else level))
        for u in np.arange(0.75, size[1 - axis] - 0.65, 1.3) if axis < 2 else ():
            kind = _pick(rng, ["", "picture", "picture", "glow", "wood"])  # the last two: a window, a door
            z0, z1 = {"glow": (0.9, 2.1), "wood": (0, 2)}.get(kind, (1.2, rng.uniform(1.5, 2.1)))
            for border, stuff in ((0.06, "white"), (0, kind)) if kind else ():  # a frame, and what it holds
                centre, half = np.full(3, u), np.full(3, 0.45 + border)
                centre[axis], half[axis] = size[axis] * high, 0.03 - border / 6
                centre[2], half[2] = (z0 + z1) / 2, (z1 - z0) / 2 + border
                boxes.append(Box(centre, half, _material(rng, stuff)))
    return boxes


def _part(rng, part, place, half, turn):
    """The boxes of a part of a piece that stands at `place`; `half` is its half width, half depth, height."""
    *spans, stuff = part
    low, high = np.float64(spans).reshape(3, 2).T * half
    name, _, copies = stuff.partition("*")
    (u, v, w), (c, s), material = (low + high) / 2, turn, _material(rng, name)
    for a, b in [(1, 1), (-1, 1), (1, -1), (-1, -1)][: int(copies or 1)]:
        centre = np.array([place[0] + c * a * u - s * b * v, place[1] + s * a * u + c * b * v, w])
        yield Box(centre, (high - low) / 2, material, turn)


def render(n, height=120, width=160, seed=0, views=4):
    """The first `n` frames of the rooms of a seed; frame i shows room i // views and does not depend on `n`.

    Returns:
        rgb uint8 `(n, 3, height, width)`; depth float32 `(n, height, width)`, metres along the optical axis,
        all valid; room int64 `(n,)`.
    """
    rgb, depth = np.empty((n, 3, height, width), np.uint8), np.empty((n, height, width), np.float32)
    index = np.arange(n) // views
    for i in range(n):
        if i % views == 0:
            room = furnish(_generator(seed, i // views))
        rng = _generator(seed, i // views, 1 + i % views)
        rgb[i], depth[i] = photograph(room, *pose(room, rng), (height, width), rng)
    return rgb, depth, index


def _generator(seed, room, stream=0):
    return np.random.Generator(np.random.Philox(key=[seed, room], counter=[0, 0, 0, stream]))


def rays(height, width):
    """Viewing rays (right, down, forward = 1: t of a hit is its depth), float32 `(3, height * width)`."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    focal = np.float32(FOCAL * width)
    right, down = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    return np.stack([right, down, np.ones_like(x)]).reshape(3, -1)


def hit(origin, direction):
    """First t >= 0, `(P,)`, at which origin `(3, 1)` + t * direction `(3, P)` meets the cube [-1, 1]^3.

    It is inf for a miss, 0 from inside.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN, of a ray within a face, is a miss
        a, b = (-1 - origin) / direction, (1 - origin) / direction
    enter, leave = np.maximum(np.minimum(a, b).max(0), 0), np.maximum(a, b).min(0)
    return np.where(enter <= leave, enter, np.inf)


def _local(box, vector):
    """World vectors `(3, P)` in the axes of a box, as fractions of its sides."""
    (c, s), (x, y, z) = np.float32(box.turn), vector
    return np.stack([c * x + s * y, c * y - s * x, z]) / np.float32(box.half)[:, None]


def cast(boxes, eye, direction):
    """Nearest hits of rays from `eye` along `direction` `(3, P)`: t and index of the box; inf, -1: a miss."""
    best, which = np.full(direction.shape[1], np.inf, np.float32), np.full(direction.shape[1], -1)
    square = (direction * direction).sum(0)
    for i, box in enumerate(boxes):
        way = np.float32(box.centre - eye)[:, None]
        towards = way[0] * direction[0] + way[1] * direction[1] + way[2] * direction[2]
        outside = (way * way).sum() - np.float32((box.half**2).sum())
        # rays that meet the ball around the box
        at = np.flatnonzero((towards * towards >= outside * square) & ((towards > 0) | (outside < 0)))
        t = hit(_local(box, -way), _local(box, direction[:, at]))
        nearer = t < best[at]
        best[at[nearer]], which[at[nearer]] = t[nearer], i
    return best, which


def pose(room, rng):
    """A camera near a wall, nothing close before it: eye, metres, and axes: right, down, forward as rows."""
    views, probe = [], rays(18, 24) * np.float32([[1.08], [1.08], [1]])  # a little wider than a 4:3 frame
    for _ in range(60):
        eye, axis = room.size * rng.uniform(0.12, 0.88, 3), int(2 * rng.random())
        eye[axis] = abs(_pick(rng, [0, room.size[axis]]) - rng.uniform(0.3, 1))
        eye[2] = rng.uniform(1.2, 1.7)
        ahead = room.size * rng.uniform(0.25, 0.75, 3) - eye
        ahead[2] = rng.uniform(-0.3, -0.1) * math.hypot(ahead[0], ahead[1])
        right = np.cross(ahead, [*rng.uniform(-0.04, 0.04, 2), 1])
        axes = np.stack([right, np.cross(ahead, right), ahead])
        axes /= np.sqrt((axes * axes).sum(1, keepdims=True))
        seen = np.sort(cast(room.boxes, eye, _world(axes, probe))[0])
        quality = min(seen[0] / NEAREST, seen[len(seen) // 2] / TYPICAL)
        views.append((quality, len(views), eye, axes))
        if quality >= 1:
            break
    return max(views)[2:]


def _world(axes, vector):
    axes = axes.astype(np.float32)[:, :, None]  # no matrix product: its order of additions varies
    return vector[0] * axes[0] + vector[1] * axes[1] + vector[2] * axes[2]


def photograph(room, eye, axes, size, rng):
    """rgb uint8 `(3, *size)` and depth float32 `size` of a room from a `pose`; `size` is (height, width)."""
    direction = _world(axes, rays(*size))
    depth, which = cast(room.boxes, eye, direction)
    point = np.float32(eye)[:, None] + depth * direction
    colour, normal, glow = _surfaces(room.boxes, which, point)
    beam = point - np.float32(room.lamp)[:, None]
    square = (beam * beam).sum(0)
    facing = np.maximum(-(beam * normal).sum(0) / np.sqrt(square), 0)
    lit = cast([box for box in room.boxes if not box.material[-1]], room.lamp, beam)[0] > 0.995
    walls = np.minimum(point, np.float32(room.size)[:, None] - point)
    corner = np.minimum(np.sort(walls, 0)[1] / 0.7, 1)  # corners see less of the room: less stray light
    light = (0.22 + 0.1 * normal[2]) * (0.55 + 0.45 * corner) + lit * facing * 2 / (1 + square / 5)
    picture = colour * np.where(glow, 1.3, light)
    exposure = rng.uniform(0.2, 0.32) / max(float(np.median(picture[1])), 0.02)
    tint = np.float32(exposure * rng.uniform(0.9, 1.1, (3, 1)))
    grain = rng.random(picture.shape, np.float32) + rng.random(picture.shape, np.float32) - 1
    picture = np.sqrt(np.clip(picture * tint, 0, 1)) + 0.025 * grain
    rgb = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rgb.reshape(3, *size), depth.reshape(size)


def _surfaces(boxes, which, point):
    """Albedo `(3, P)`, outward normal `(3, P)` and glow `(P,)` at the points seen."""
    colour, normal, glow = np.zeros_like(point), np.zeros_like(point), np.zeros(point.shape[1], bool)
    for i in np.unique(which):
        box, at = boxes[i], np.flatnonzero(which == i)
        unit = _local(box, point[:, at] - np.float32(box.centre)[:, None])
        n = np.where(np.abs(unit) == np.abs(unit).max(0), np.sign(unit), 0)
        (c, s), (a, b, size, glow[at]) = np.float32(box.turn), box.material
        normal[:, at] = np.stack([c * n[0] - s * n[1], c * n[1] + s * n[0], n[2]])
        cell = np.floor(unit * np.float32(box.half / size)[:, None]).astype(np.int64)
        colour[:, at] = np.float32(a)[:, None] + np.float32(b - a)[:, None] * _hash(*cell)
    return colour, normal, glow


def _hash(x, y, z):
    """A float32 in [0, 1) for every lattice point, the same for the same integers."""
    h = (x * 73856093 ^ y * 19349663 ^ z * 83492791) & 0xFFFFFFFF
    h = ((h ^ h >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
    h = ((h ^ h >> 12) * 0x297A2D39) & 0xFFFFFFFF
    return ((h ^ h >> 15) >> 8).astype(np.float32) / np.float32(2**24)
