"""Built-in data: pictures of synthetic indoor rooms with exact depth, for machines without NYU Depth V2.

A small ray caster: everything is a box, one lamp casts hard shadows; the field of view is NYU Depth V2's.

Every number is a pure function of (seed, room, view). Per pixel only + - * / sqrt and integers are used,
which IEEE 754 rounds alike everywhere (the last bit of a sine, a power or a long sum depends on the
processor): the frames, and the fingerprint that names them in records, are the same on every machine.
"""

import math
from typing import NamedTuple

import numpy as np

FOCAL = 519 / 640  # focal length over image width, of NYU Depth V2
NEAREST, TYPICAL = 0.65, 1.7  # metres; a view of a smaller least or median depth is drawn again

# Hue, brightness from and to, spread of hue, brightness of the second colour, size of squares in metres.
MATERIALS = {
    "wood": ((1, 0.6, 0.3), 0.2, 0.7, 0.05, 0.7, 0.1),
    "cloth": ((1, 1, 1), 0.1, 0.6, 0.6, 0.7, 0.08),
    "tiles": ((1, 1, 1), 0.3, 0.8, 0.2, 0.4, 0.4),
    "paper": ((1, 1, 1), 0.5, 0.9, 0.1, 0.9, 0.3),
    "white": ((1, 1, 1), 0.6, 0.9, 0.08, 1, 1),
    "books": ((1, 0.7, 0.6), 0.9, 0.9, 0.3, 0.1, 0.06),
    "picture": ((1, 1, 1), 0.3, 0.9, 0.8, 0.3, 0.12),
}

# Half width, half depth and height in metres, from and to; then the boxes: extent across, from back to front
# and upwards as fractions of those sizes, material. *2: mirrored to the right; *4: to the front as well.
PIECES = """
bed .5 .9 1.03 1.03 .9 1; -1 1 -1 -.95 0 1 wood; -1 1 -.95 1 .08 .3 wood; -1 1 -.95 1 .3 .5 white
sofa .5 1 .45 .45 .85 .85; -1 1 -1 -.5 .05 1 cloth; -1 1 -.5 .9 .05 .5 cloth; .85 1 -1 1 .05 .75 cloth*2
wardrobe .5 .9 .3 .3 1.8 2.1; -1 1 -1 .9 0 1 wood; .02 .97 .9 1 .04 .97 wood*2
shelf .35 .5 .2 .2 1 2; -1 1 -1 -.9 0 1 wood; .9 1 -1 1 0 1 wood*2; -1 1 -1 1 0 .3 wood; -1 1 -1 0 .3 .7 books
chair .21 .23 .22 .22 .9 .95; -1 1 -1 1 .46 .51 cloth; -1 1 -1 -.85 .5 1 cloth; .8 1 .8 1 0 .46 wood*4
table .4 .9 .3 .5 .42 .75; -1 1 -1 1 .93 1 wood; .85 .95 .85 .95 0 .93 wood*4; -.1 .2 -.3 .2 1 1.2 cloth
""".strip().splitlines()
LOOSE = ("chair", "table")  # stand free, turned; others at a wall


class Box(NamedTuple):
    """A box with half its sides in metres, turned about the vertical."""

    centre: np.ndarray
    half: np.ndarray
    material: tuple  # two colours (linear RGB, 0..1) in squares of a size in metres
    turn: tuple = (1.0, 0.0)  # cosine and sine of the angle


def _pick(rng, things):
    return things[int(len(things) * rng.random())]


def _material(rng, name):
    hue, low, high, spread, second, size = MATERIALS[name]
    a = np.clip(rng.uniform(low, high) * rng.uniform(1 - spread, 1 + spread, 3) * hue, 0.02, 0.95)
    return a, second * a, size * rng.uniform(0.7, 1.3)


def furnish(rng):
    """Draw a room: size (x and y along the floor, z up, metres, a corner at 0), boxes, place of the lamp."""
    size = 2.6 + np.array([6, 6, 0.4]) * rng.random(3) * [rng.random(), rng.random(), 1]
    boxes, taken = _shell(rng, size), []
    for _ in range(int(8 + size[0] * size[1] / 2)):
        sizes, *parts = _pick(rng, PIECES).split(";")
        name, *sizes = sizes.split()
        half, side = rng.uniform(*np.float64(sizes).reshape(3, 2).T), int(4 * rng.random())
        angle = side * math.pi / 2 + (rng.uniform(-0.5, 0.5) if name in LOOSE else 0)
        turn = c, s = math.cos(angle), math.sin(angle)
        reach = half[0] * np.abs([c, s]) + half[1] * np.abs([s, c]) + 0.02
        place, axis = rng.uniform(reach, size[:2] - reach), 1 - side % 2
        if name not in LOOSE:  # its back to a wall
            place[axis] = reach[axis] if side in (0, 3) else size[axis] - reach[axis]
        free = not any((np.abs(place - other) < reach + extent).all() for other, extent in taken)
        if free and (2 * reach <= size[:2] - 1).all():
            taken.append((place, reach))
            boxes += [box for part in parts for box in _part(rng, part.split(), place, half, turn)]
    return size, boxes, size * [rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65), 0.83]


def _shell(rng, size):
    """Floor, ceiling and walls as thick slabs around the room, with pictures and doors."""
    boxes, paper = [], _material(rng, "paper")
    for axis, high in np.ndindex(3, 2):
        centre, half = size / 2, size / 2 + 1
        centre[axis], half[axis] = size[axis] + 0.5 if high else -0.5, 0.5
        level = _material(rng, "white" if high else _pick(rng, ["wood", "tiles", "cloth"]))
        boxes.append(Box(centre, half, paper if axis < 2 else level))
        for u in np.arange(0.75, size[1 - axis] - 0.65, 1.3) if axis < 2 else ():
            low, top, stuff = _pick(rng, [(1.2, 1.8, "picture"), (0.9, 2.1, "white"), (0, 2, "wood")])
            centre, half = np.full(3, u), np.full(3, 0.45)
            centre[axis], half[axis] = size[axis] * high, 0.03
            centre[2], half[2] = (low + top) / 2, (top - low) / 2
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

    Returns rgb uint8 `(n, 3, height, width)`, depth float32 `(n, height, width)`, metres along the optical
    axis, all valid, and room int64 `(n,)`.
    """
    rgb, depth = np.empty((n, 3, height, width), np.uint8), np.empty((n, height, width), np.float32)
    index = np.arange(n) // views
    for i in range(n):
        if i % views == 0:
            sides, boxes, lamp = furnish(_generator(seed, i // views))
        rng = _generator(seed, i // views, 1 + i % views)
        rgb[i], depth[i] = photograph(boxes, lamp, pose(sides, boxes, rng), (height, width), rng)
    return rgb, depth, index


def _generator(seed, room, stream=0):
    return np.random.Generator(np.random.Philox(key=[seed, room], counter=[0, 0, 0, stream]))


def rays(axes, height, width, wider=1.0):
    """Viewing rays of a camera's axes (forward is 1, so a hit's t is its depth), `(3, rows * columns)`."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    scale, axes = np.float32(wider / (FOCAL * width)), axes.astype(np.float32)[:, :, None, None]
    right, down = (x + 0.5 - width / 2) * scale, (y + 0.5 - height / 2) * scale
    return (right * axes[0] + down * axes[1] + axes[2]).reshape(3, -1)


def _local(box, vector):
    """World vectors `(3, P)` in the axes of a box, as fractions of its sides."""
    (c, s), (x, y, z) = np.float32(box.turn), vector
    return np.stack([c * x + s * y, c * y - s * x, z]) / np.float32(box.half)[:, None]


def cast(boxes, eye, direction):
    """Nearest hits of rays from `eye` along `direction` `(3, P)`: t and index of the box; inf, -1: a miss."""
    best, which = np.full(direction.shape[1], np.inf, np.float32), np.full(direction.shape[1], -1)
    for i, box in enumerate(boxes):
        origin, way = _local(box, np.float32(eye - box.centre)[:, None]), _local(box, direction)
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN, of a ray within a face, is a miss
            a, b = (-1 - origin) / way, (1 - origin) / way
        enter, leave = np.maximum(np.minimum(a, b).max(0), 0), np.maximum(a, b).min(0)
        nearer = (enter <= leave) & (enter < best)
        best[nearer], which[nearer] = enter[nearer], i
    return best, which


def pose(size, boxes, rng):
    """A camera near a wall, nothing close before it: eye, metres, and axes: right, down, forward as rows."""
    best = 0.0
    for _ in range(60):
        eye, axis = size * rng.uniform(0.12, 0.88, 3), int(2 * rng.random())
        eye[axis] = abs(_pick(rng, [0, size[axis]]) - rng.uniform(0.3, 1))
        eye[2] = rng.uniform(1.2, 1.7)
        ahead = size * rng.uniform(0.25, 0.75, 3) - eye
        ahead[2] = rng.uniform(-0.3, -0.1) * math.hypot(ahead[0], ahead[1])
        right = np.cross(ahead, [*rng.uniform(-0.04, 0.04, 2), 1])
        axes = np.stack([right, np.cross(ahead, right), ahead])
        axes /= np.sqrt((axes * axes).sum(1, keepdims=True))
        seen = np.sort(cast(boxes, eye, rays(axes, 18, 24, 1.08))[0])
        quality = min(seen[0] / NEAREST, seen[len(seen) // 2] / TYPICAL)
        if quality >= best:
            best, view = quality, (eye, axes)
        if best >= 1:
            break
    return view


def photograph(boxes, lamp, camera, size, rng):
    """rgb uint8 `(3, *size)` and depth float32 `size` from a `pose`; `size` is (height, width) in pixels."""
    eye, axes = camera
    direction = rays(axes, *size)
    depth, which = cast(boxes, eye, direction)
    point = np.float32(eye)[:, None] + depth * direction
    colour, normal = np.zeros_like(point), np.zeros_like(point)
    for i in np.unique(which):
        (c, s), (a, b, side), at = np.float32(boxes[i].turn), boxes[i].material, which == i
        unit = _local(boxes[i], point[:, at] - np.float32(boxes[i].centre)[:, None])
        n = np.where(np.abs(unit) == np.abs(unit).max(0), np.sign(unit), 0)
        normal[:, at] = np.stack([c * n[0] - s * n[1], c * n[1] + s * n[0], n[2]])
        squares = np.floor(unit * np.float32(boxes[i].half / side)[:, None]).astype(np.int64).sum(0)
        colour[:, at] = np.where(squares & 1, np.float32(b)[:, None], np.float32(a)[:, None])
    beam = point - np.float32(lamp)[:, None]
    square = (beam * beam).sum(0)
    facing = np.maximum(-(beam * normal).sum(0) / np.sqrt(square), 0)
    lit = cast(boxes, lamp, beam)[0] > 0.995
    picture = colour * (0.22 + 0.1 * normal[2] + lit * facing * 2 / (1 + square / 5))
    tint = rng.uniform(0.2, 0.32) * rng.uniform(0.9, 1.1, (3, 1)) / max(float(np.median(picture[1])), 0.02)
    grain = rng.random(picture.shape, np.float32) + rng.random(picture.shape, np.float32) - 1
    picture = np.sqrt(np.clip(picture * np.float32(tint), 0, 1)) + 0.025 * grain
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).reshape(3, *size), depth.reshape(size)
