"""The depth viewer's data: what the page decodes is what was predicted."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from lthdepth.data.frames import Summary
from lthdepth.paper import live


def metres(layer):
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["picture"].split(",")[1]))), float)
    depth = layer["low"] + grey * (layer["high"] - layer["low"]) / 255
    return depth.reshape(layer["n"], layer["height"], layer["width"])


def test_every_map_is_in_the_page_to_two_centimetres_and_nothing_in_it_ends_its_script():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.7, 9.9, (2, 30, 400)).astype(np.float32)
    photos = rng.integers(0, 256, (2, 30, 400, 3), dtype=np.uint8)
    summary = Summary({}, depth[0], np.array([3, 9]), photos, depth, ["a<!--<script>", "c"])
    small = depth[:, ::2, ::4]
    better = np.array([0.2, 0.1])[:, None, None]  # of dense, on the second frame, which comes first
    maps = {"mean depth map": small.mean(0)[None], "dense": small + better, "random 1.8 %": small + 1}
    page = live.viewer_fragment(summary, maps)
    data = json.loads(re.search(r'class="viewer-data">(.*?)</script>', page, re.DOTALL)[1])
    assert list(data["layers"]) == ["dense", "mean depth map", "random 1.8 %", "truth"]
    for name, layer in data["layers"].items():
        wanted = maps.get(name, depth[:, ::2, ::2])  # the widest map is thinned
        assert np.abs(metres(layer) - wanted[::-1]).max() < 0.02
    assert [f["name"] for f in data["frames"]] == ["c, test frame 9", "a<!--<script>, test frame 3"]
    assert "<!--" not in page and page.count("</script>") == 2
    assert re.match(r'<section class="viewer" hidden', page)  # until its script runs
