"""The depth viewer's data: what the page decodes is what was predicted."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from lthdepth.data.summary import Summary
from lthdepth.paper import viewer


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.7, 9.9, (2, 30, 40)).astype(np.float32)
    summary = Summary(
        {},
        depth[0],
        np.array([3, 9]),
        rng.integers(0, 256, (2, 30, 40, 3), dtype=np.uint8),
        depth,
        ["a<!--<script>", "c"],
    )
    maps = {
        "mean depth map": depth.mean(0)[None],
        "dense": depth[:, ::2, ::2] + 0.1,
        "random 1.8 %": depth[:, ::2, ::2] + 1,
    }
    return summary, maps, viewer.fragment(summary, maps)


def metres(layer):
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["picture"].split(",")[1]))), float)
    return (layer["low"] + grey * (layer["high"] - layer["low"]) / 255).reshape(
        layer["n"], layer["height"], layer["width"]
    )


def test_every_map_is_in_the_page_to_two_centimetres(scene):
    summary, maps, page = scene
    data = json.loads(re.search(r'class="viewer-data">(.*?)</script>', page, re.DOTALL)[1])
    assert list(data["layers"]) == ["dense", "mean depth map", "random 1.8 %", "truth"]
    for name, layer in data["layers"].items():
        assert np.abs(metres(layer) - (summary.depth if name == "truth" else maps[name])).max() < 0.02
    assert [f["name"] for f in data["frames"]] == ["a<!--<script>, test frame 3", "c, test frame 9"]


def test_the_page_is_marked_up_safely_and_hidden_without_a_script(scene):
    page = scene[2]
    assert "<!--" not in page and re.match(r'<section class="viewer" hidden', page)
    assert page.count("</script>") == 2


def test_wide_maps_are_thinned():
    assert viewer._sheet(np.ones((1, 240, 320)))["width"] == viewer.WIDTH
