import math

import numpy as np
import pytest

from lthdepth.data import rooms
from lthdepth.data.furniture import Material, Room, Solid, furnish
from lthdepth.data.rooms import FOCAL, hit, photograph, render
from lthdepth.errors import UserError

GREY = Material("plain", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZE, EYE = (4.0, 8.0, 2.5), (2.0, 1.0, 1.5)
NORTH = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down, forward: level, looking along +y


@pytest.fixture(scope="module")
def frames():
    return render(24, 60, 80, seed=3, views=2)


def bare(*solids, lamp=(2.0, 2.5, 2.1)):
    """A room with grey faces, without a picture on the wall, and with the given solids."""
    faces = {(axis, high): GREY for axis in range(3) for high in (False, True)}
    pieces = [(Solid("sphere", s.centre, (math.hypot(*s.half),) * 3), [s]) for s in solids]
    return Room(SIZE, pieces, faces, [], lamp)


def photo(room, height=96, width=128):
    return photograph(room, EYE, NORTH, height, width, np.random.Generator(np.random.Philox(1)))


def slopes(height, width):
    """Right and down, per metre forward, of the ray through every pixel: two (height, width) arrays."""
    right = [(i + 0.5 - width / 2) / (519 * width / 640) for i in range(width)]
    down = [(i + 0.5 - height / 2) / (519 * width / 640) for i in range(height)]
    return np.meshgrid(right, down)


def test_shapes_and_types(frames):
    rgb, depth, room = frames
    assert (rgb.dtype, depth.dtype, room.dtype) == (np.uint8, np.float32, np.int64)
    assert (rgb.shape, depth.shape) == ((24, 3, 60, 80), (24, 60, 80))
    assert room.tolist() == [i // 2 for i in range(24)]


def test_depths_are_those_of_rooms(frames):
    rgb, depth, _ = frames
    assert depth.min() >= 0.5 and depth.max() < 11
    assert 2 < depth.mean() < 4
    assert (depth.std((1, 2)) > 0.1).all()
    assert 60 < rgb.mean() < 190 and (rgb.std((2, 3)) > 5).all()  # neither black nor blank


def test_mean_map_leaves_much_to_learn(frames):
    depth = frames[1].astype(np.float64)
    error = np.abs(depth[12:] - depth[:12].mean(0)) / depth[12:]
    assert error.mean() > 0.15


def test_same_call_same_frames(frames):
    for a, b in zip(frames, render(24, 60, 80, seed=3, views=2), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("views", [1, 3, 4])
def test_a_frame_does_not_depend_on_the_number_of_frames(views):
    few, many = render(3, 24, 32, views=views), render(8, 24, 32, views=views)
    for a, b in zip(few, many, strict=True):
        assert np.array_equal(a, b[:3])


def test_seeds_rooms_and_views_differ():
    depth = np.concatenate([render(6, 24, 32, seed=seed, views=2)[1] for seed in (0, 1, 2**40)])
    for i in range(len(depth)):
        for j in range(i):
            assert np.mean(np.abs(depth[i] - depth[j]) > 0.01) > 0.5


def test_the_first_view_does_not_depend_on_how_many_follow():
    assert np.array_equal(render(1, 24, 32, views=1)[1], render(1, 24, 32, views=4)[1])


def test_every_size_shows_the_same_scene():
    # The centre of every pixel is the centre of the middle one of the nine that it is made of
    small, large = render(4, 24, 32, views=1)[1], render(4, 72, 96, views=1)[1]
    assert np.mean(np.isclose(small, large[:, 1::3, 1::3], atol=1e-4)) > 0.99


@pytest.mark.parametrize("height, width", [(96, 128), (33, 80)])
def test_empty_room_is_six_planes(height, width):
    _, depth = photo(bare(), height, width)
    right, down = slopes(height, width)
    side = 2 / np.abs(right)
    floor = np.where(down > 0, EYE[2] / np.maximum(down, 1e-9), np.inf)
    ceiling = np.where(down < 0, (SIZE[2] - EYE[2]) / np.maximum(-down, 1e-9), np.inf)
    far = np.full_like(side, SIZE[1] - EYE[1])  # all over the wall: along the axis, not the ray
    planes = np.stack([side, floor, ceiling, far])
    assert set(np.argmin(planes, 0).flat) == {0, 1, 2, 3}  # all of them are seen
    np.testing.assert_allclose(depth, planes.min(0), rtol=1e-5)


def test_ball_of_known_size():
    radius, distance = 0.4, 2.5
    ball = Solid("sphere", (2.0, 1.0 + distance, 1.5), (radius,) * 3, material=GREY)
    _, depth = photo(bare(ball), 193, 257)
    assert depth[96, 128] == pytest.approx(distance - radius, rel=1e-5)
    across = math.tan(math.asin(radius / distance)) * 519 / 640 * 257  # pixels, from the axis to its outline
    seen = np.sum(depth[97:] < 2.6) + np.sum(depth[96] < 2.6) / 2  # its lower half: above it is the ceiling
    assert seen == pytest.approx(math.pi / 2 * across**2, rel=0.02)


def test_turned_crate_and_upright_column():
    c, s = math.cos(0.5), math.sin(0.5)
    crate = Solid("box", (1.4, 3.5, 1.5), (0.4, 0.2, 0.3), (c, s), GREY)  # anticlockwise, seen from above
    column = Solid("cylinder", (2.6, 3.5, 1.0), (0.2, 0.2, 1.0), material=GREY)
    _, depth = photo(bare(crate, column), 193, 257)
    row = depth[96]
    # The edge that comes first, where its front (local y = -0.2) and its left end (local x = -0.4) meet
    edge = (1.4 - 0.4 * c + 0.2 * s - EYE[0]), (3.5 - 0.4 * s - 0.2 * c - EYE[1])
    assert row[:128].min() == pytest.approx(edge[1], abs=0.005)
    assert row[:128].argmin() == pytest.approx(128 + 519 / 640 * 257 * edge[0] / edge[1], abs=1)
    columns = 129 + np.flatnonzero(row[129:] < 3)
    assert row[columns].min() == pytest.approx(2.5 - 0.2, abs=0.002)
    middle, half = math.atan(0.6 / 2.5), math.asin(0.2 / math.hypot(0.6, 2.5))
    outline = [128.5 + 519 / 640 * 257 * math.tan(angle) for angle in (middle - half, middle + half)]
    assert [columns[0], columns[-1] + 1] == pytest.approx(outline, abs=1)


@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere"])
def test_hit_is_the_first_point_inside(shape):
    rng = np.random.default_rng(0)
    inside = {
        "box": lambda p: np.abs(p).max(0) <= 1,
        "cylinder": lambda p: (p[0] ** 2 + p[1] ** 2 <= 1) & (np.abs(p[2]) <= 1),
        "sphere": lambda p: (p**2).sum(0) <= 1,
    }[shape]
    met = 0
    for _ in range(4):
        eye = rng.normal(size=3)
        eye *= 3 / np.linalg.norm(eye)
        direction = rng.uniform(-1.3, 1.3, (3, 500)) - eye[:, None]
        t = hit(shape, eye, direction)
        steps = np.linspace(0, 2.5, 5001)
        marched = inside(eye[:, None, None] + steps[:, None] * direction[:, None, :])
        first = np.where(marched.any(0), steps[marched.argmax(0)], np.inf)
        agree = np.isclose(t, first, atol=6e-4) | (np.isinf(t) & np.isinf(first))
        assert agree.mean() > 0.995  # a ray that grazes may slip between two steps
        assert np.isinf(hit(shape, eye, -direction[:, np.isfinite(t)])).all()  # never behind the eye
        met += np.isfinite(t).sum()
    assert 400 < met < 1990
    assert (hit(shape, np.zeros(3), direction) == 0).all()  # from inside


def test_far_thin_leg_keeps_its_width_in_float32():
    # A leg 1 cm thick, 5 m away, is 500 radii off in its own units
    x = np.linspace(-2, 2, 4001, dtype=np.float32)
    direction = np.stack([x, np.full_like(x, 500), np.zeros_like(x)])
    t = hit("cylinder", [np.float32(v) for v in (0, -500, 0)], direction)
    assert np.isfinite(t).mean() == pytest.approx(0.5, abs=0.002)
    assert t[2000] == pytest.approx(499 / 500, rel=1e-5)


def test_floor_is_one_plane_at_eye_height():
    """Unprojected by the focal length alone, the largest plane of the lower half of a frame is the floor."""
    rng, found = np.random.default_rng(0), 0
    _, depth, _ = render(12, 60, 80, views=1)
    right, down = slopes(60, 80)
    for d in depth.astype(np.float64):
        points = (np.stack([right, down, np.ones_like(right)]) * d)[:, 30:].reshape(3, -1)
        best, eye = 0, 0
        for _ in range(400):
            a, b, c = points[:, rng.integers(0, points.shape[1], 3)].T
            normal = np.cross(b - a, c - a)
            length = np.linalg.norm(normal)
            if length > 1e-3 and abs(normal[1]) > 0.9 * length:  # level but for pitch and roll
                normal *= np.sign(normal[1]) / length
                on = np.abs(normal @ points - normal @ a) < 1e-3
                if on.sum() > best and normal @ a > 1.1:  # not the top of a table
                    best, eye = on.sum(), normal @ a
        if best > 0.1 * points.shape[1]:
            found += 1
            assert 1.19 < eye < 1.71
    assert found >= 6


def test_nothing_outside_the_room():
    for index in range(6):
        room = furnish(rooms._draws(5, index))
        rng = rooms._draws(5, index, 1)
        eye, axes = rooms.pose(room, rng)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert axes[1, 2] < -0.9  # down is down
        _, depth = photograph(room, eye, axes, 60, 80, rng)
        right, down = slopes(60, 80)
        camera = np.stack([right, down, np.ones_like(right)]) * depth
        point = np.einsum("kij,kc->cij", camera, axes) + np.asarray(eye)[:, None, None]
        for values, side in zip(point, room.size, strict=True):
            assert values.min() > -1e-3 and values.max() < side + 1e-3
        faces = np.abs(point) < 1e-3, np.abs(point - np.reshape(room.size, (3, 1, 1))) < 1e-3
        assert np.mean(np.any(faces, (0, 1))) > 0.2  # and a good part of the frame lies on them


def test_table_casts_its_shadow():
    lamp = (2.0, 4.6, 2.2)
    top = Solid("box", (2.0, 5.0, 0.8), (0.5, 0.4, 0.02), material=GREY)
    rgb, depth = photo(bare(top, lamp=lamp))
    right, down = slopes(*depth.shape)
    x, y, z = EYE[0] + right * depth, EYE[1] + depth, EYE[2] - down * depth
    floor = np.abs(z) < 1e-3
    share = (0.8 - lamp[2]) / (0 - lamp[2])  # of the way from lamp to floor, at the height of the table
    px, py = lamp[0] + share * (x - lamp[0]), lamp[1] + share * (y - lamp[1])
    deep = floor & (np.abs(px - 2.0) < 0.45) & (np.abs(py - 5.0) < 0.35)
    clear = floor & ((np.abs(px - 2.0) > 0.55) | (np.abs(py - 5.0) > 0.45))
    assert deep.sum() > 20 and clear.sum() > 100
    assert rgb[1][deep].mean() < 0.7 * rgb[1][clear].mean()


def test_field_of_view_is_that_of_nyu():
    assert 2 * math.degrees(math.atan(0.5 / FOCAL)) == pytest.approx(63.3, abs=0.1)


@pytest.mark.parametrize(
    "wrong, name",
    [
        ({"n": 0}, "n"),
        ({"n": -3}, "n"),
        ({"n": 2.5}, "n"),
        ({"height": 7}, "height"),
        ({"width": 0}, "width"),
        ({"width": "wide"}, "width"),
        ({"views": 0}, "views"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_bad_arguments(wrong, name):
    with pytest.raises(UserError, match=rf"^{name} of the rooms .*\.$") as caught:
        render(**{"n": 1, "height": 8, "width": 8} | wrong)
    assert repr(next(iter(wrong.values()))) in str(caught.value)


def test_smallest_frame():
    assert render(1, 8, 8)[1].shape == (1, 8, 8)
