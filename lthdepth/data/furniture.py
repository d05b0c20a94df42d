"""Synthetic rooms to photograph (see `rooms`): what is in them, where, and of what material."""

import math
from typing import NamedTuple


class Material(NamedTuple):
    """A texture between the colours `a` and `b` (linear RGB, 0..1); `glow` needs no light."""

    pattern: str  # plain | stripes | wood | checker | tiles | noise | books
    a: tuple
    b: tuple
    size: float = 0.1  # of its features, metres
    glow: bool = False


class Solid(NamedTuple):
    """A unit solid (see `hit`), scaled by `half` (metres), turned about the vertical, moved to `centre`."""

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


# Half width, half depth and height in metres, each (from, to); then the parts: shape, its extent across, from
# back to front and upwards as fractions of those sizes, material. *2: two parts, mirrored left and right;
# *4: four, mirrored to the front as well. A digit tells two draws of a material apart.
FURNITURE = {
    "bed": (
        (0.5, 0.9),
        (1.03, 1.03),
        (0.9, 1.0),
        """
        box -1 1 -1 -.95 0 1 wood;  box -1 1 -.95 1 .08 .3 wood;  box -.98 .98 -.95 .98 .3 .5 white
        box -1 1 -.4 1 .28 .54 cloth;  sphere*2 .08 .92 -.93 -.55 .48 .68 white""",
    ),
    "sofa": (
        (0.5, 1.05),
        (0.45, 0.45),
        (0.85, 0.85),
        """
        box -1 1 -1 -.5 .05 1 cloth;  box -1 1 -.5 .9 .05 .35 cloth;  box*2 .85 1 -1 1 .05 .75 cloth
        box*2 .01 .84 -.5 .95 .36 .54 cloth;  sphere -.8 -.3 -.6 -.2 .5 .95 cloth2""",
    ),
    "wardrobe": (
        (0.5, 0.9),
        (0.3, 0.3),
        (1.8, 2.1),
        """
        box -1 1 -1 .9 0 1 wood;  box*2 .02 .97 .9 1 .04 .97 wood2;  sphere*2 .05 .12 .9 1.1 .5 .52 plain""",
    ),
    "dresser": (
        (0.4, 0.9),
        (0.25, 0.25),
        (0.8, 0.9),
        """
        box -1 1 -1 .9 0 1 plain;  box*2 .02 .97 .9 1 .06 .33 plain2;  box*2 .02 .97 .9 1 .37 .64 plain2
        box*2 .02 .97 .9 1 .68 .95 plain2;  cylinder .3 .6 -.4 .4 1 1.3 plain3""",
    ),
    "television": (
        (0.5, 0.8),
        (0.22, 0.22),
        (0.5, 0.5),
        """
        box -1 1 -1 1 .1 1 wood;  box -.7 .7 -.1 .1 1.15 2.2 screen;  box -.3 .3 -.3 .3 1 1.15 screen""",
    ),
    "bookshelf": (
        (0.35, 0.55),
        (0.15, 0.15),
        (1.2, 2.0),
        """
        box -1 1 -1 -.9 0 1 wood;  box*2 .94 1 -1 1 0 1 wood
        box -1 1 -1 1 0 .02 wood;  box -1 1 -1 1 .98 1 wood;  box -1 1 -1 1 .24 .26 wood
        box -1 1 -1 1 .49 .51 wood;  box -1 1 -1 1 .74 .76 wood
        box -.9 .4 -.9 .6 0 .18 books;  box -.2 .9 -.9 .6 .26 .43 books;  box -.9 .8 -.9 .6 .51 .7 books
        box -.5 .9 -.9 .6 .76 .92 books""",
    ),
    "chair": (
        (0.21, 0.23),
        (0.22, 0.22),
        (0.9, 0.95),
        """
        box -1 1 -1 1 .46 .51 cloth;  box -1 1 -1 -.85 .65 1 cloth;  cylinder*4 .8 .97 .8 .97 0 .46 wood
        cylinder*2 .8 .95 -.98 -.86 .5 .98 wood""",
    ),
    "dining table": (
        (0.6, 0.9),
        (0.7, 0.75),
        (0.74, 0.74),
        """
        box -1 1 -.4 1 .95 1 wood;  cylinder*2 .9 .97 -.35 -.28 0 .95 wood
        cylinder*2 .9 .97 .88 .95 0 .95 wood;  sphere -.1 .15 .2 .5 1 1.25 plain
        box*2 .25 .75 -.95 -.35 .58 .64 cloth
        box*2 .25 .75 -1 -.93 .85 1.25 cloth;  cylinder*2 .26 .31 -.98 -.93 0 1.22 wood
        cylinder*2 .69 .74 -.98 -.93 0 1.22 wood;  cylinder*2 .26 .31 -.42 -.37 0 .58 wood""",
    ),
    "low table": (
        (0.4, 0.6),
        (0.3, 0.4),
        (0.42, 0.42),
        """
        box -1 1 -1 1 .9 1 wood;  cylinder*4 .85 .95 .85 .95 0 .9 wood;  box -.5 0 -.4 .3 1 1.1 books""",
    ),
    "floor lamp": (
        (0.2, 0.2),
        (0.2, 0.2),
        (1.6, 1.9),
        """
        cylinder -.7 .7 -.7 .7 0 .02 plain;  cylinder -.08 .08 -.08 .08 0 .9 plain
        cylinder -1 1 -1 1 .84 1 glow""",
    ),
    "plant": (
        (0.25, 0.35),
        (0.25, 0.35),
        (0.8, 1.5),
        """
        cylinder -.5 .5 -.5 .5 0 .25 plain;  cylinder -.06 .06 -.06 .06 .2 .7 wood
        sphere -.9 .5 -.6 .8 .25 .6 leaf;  sphere -.5 1 -.9 .5 .4 .8 leaf
        sphere -.7 .6 -.4 .9 .65 1 leaf""",
    ),
    "bin": ((0.13, 0.2), (0.13, 0.2), (0.3, 0.5), "cylinder -1 1 -1 1 0 1 plain"),
    "ball": ((0.15, 0.3), (0.15, 0.3), (0.3, 0.6), "sphere -1 1 -1 1 0 1 cloth"),
    "crate": ((0.2, 0.4), (0.2, 0.3), (0.25, 0.5), "box -1 1 -1 1 0 1 wood"),
    "pillar": ((0.15, 0.4), (0.15, 0.4), (3, 3), "box -1 1 -1 1 0 1 wall"),
}
LOOSE = {"chair", "dining table", "low table", "ball", "crate"}  # may stand free, turned; others at a wall


def furnish(rng):
    """Draw a room: its size, surfaces, pictures, windows, doors, lamp, furniture that does not overlap."""

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
        shade = tuple(0.8 * c for c in pale)
        return {
            "wood": Material("wood", (tone, between(0.5, 0.7) * tone, 0.3 * tone), dark, between(0.1, 0.3)),
            "cloth": Material(cloth, dye, faded, between(0.06, 0.2)),
            "carpet": Material("noise", dye, faded, 0.03),
            "picture": Material("noise", tint(0.1, 0.9, 0.9), tint(0.1, 0.9, 0.9), between(0.05, 0.3)),
            "plain": Material("plain", any_colour, any_colour),
            "white": Material("plain", pale, pale),
            "wall": Material(pick(["plain", "stripes", "noise"]), pale, shade, between(0.1, 0.4)),
            "checker": Material("checker", stone, tint(0.1, 0.4, 0.2), between(0.25, 0.5)),
            "tiles": Material("tiles", stone, tint(0.1, 0.2, 0.2), between(0.3, 0.6)),
            "books": Material("books", (0.03, 0.03, 0.03), (0.8, 0.6, 0.5), 0.045),
            "screen": Material("plain", (0.02, 0.02, 0.03), (0, 0, 0)),
            "leaf": Material("noise", (0.03, 0.1, 0.02), (0.2, 0.45, 0.1), 0.04),
            "sky": Material("noise", tint(0.7, 0.95, 0.15), (0.8, 0.85, 0.9), 0.8, glow=True),
            "glow": Material("plain", (0.95, 0.85, 0.65), (0, 0, 0), glow=True),
        }[name]

    def build(name, x, y, cos, sin, half):
        """A piece of FURNITURE at (x, y); `half` is its half width, half depth and height."""
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

    size = (2.6 + 5 * rng.random() * rng.random(), 2.6 + 5 * rng.random() * rng.random(), between(2.4, 3.0))
    paper, trim, frame = material("wall"), material("white"), material(pick(["wood", "white", "plain"]))
    walls = [(axis, high) for axis in (0, 1) for high in (False, True)]
    ground = material(pick(["wood", "wood", "checker", "tiles", "carpet"]))
    faces = dict.fromkeys(walls, paper) | {(2, False): ground, (2, True): material("white")}
    panels = []
    for face in walls:
        length = size[1 - face[0]]
        panels.append((face, (0, length, 0, 0.09), 0, trim, trim))
        for i in range(int((length - 0.2) / 1.3)):
            u, w, z, h = 0.75 + 1.3 * i, between(0.2, 0.5), between(1.2, 1.4), between(0.3, 0.8)
            picture, glass = material("picture"), material("sky")
            panels += [
                [],
                [(face, (u - w, u + w, z, z + h), 0.04, picture, frame)],
                [(face, (u - w, u + w, z, z + h), 0.04, picture, frame)],
                [(face, (u + x, u + x + 0.6, 0.9, 2.1), 0.05, glass, trim) for x in (-0.58, -0.02)],
                [(face, (u - 0.48, u + 0.48, 0, 2.05), 0.07, frame, trim)],
            ][pick(range(5))]
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
