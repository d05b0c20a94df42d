"""Alternative texts: what they say is what was drawn."""

import matplotlib.pyplot as plt
import numpy as np

from lthdepth.alttext import describe


def test_lines_are_named_with_the_values_they_run_through():
    figure, ax = plt.subplots()
    ax.plot([1, 2, 3], [2.0, 0.25, 0.5], label="dense")
    ax.plot([1, 2, 3], [1, 2, 3], label="IMP")
    ax.axhline(1.2, label="mean depth map")
    ax.plot([1, 2], [1, 1], "o")
    ax.set(xlabel="epoch", ylabel="rms (m)")
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert said == "Chart of rms (m) against epoch: dense from 2 to 0.5, between 0.25 and 2; IMP from 1 to 3; mean depth map, level at 1.2; 2 dots."


def test_panels_bars_and_categories():
    figure, (one, two) = plt.subplots(1, 2)
    one.hist([[1, 1, 2], [2, 2, 2]], [0.5, 1.5, 2.5], label=["train", "test"])
    one.set(xlabel="frames in a scene", ylabel="scenes")
    two.scatter([0.1, 0.2, 0.3], [0, 1, 1])
    two.set_yticks([0, 1], ["dense", "random"])
    two.set_xlabel("rms (m)")
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert "Panel 1: chart of scenes against frames in a scene: train, bars of 1 to 2; test, bars of 0 to 3." in said
    assert "Panel 2: chart of dense, random against rms (m): 3 dots." in said


def test_pictures_are_counted_with_their_titles_and_scale():
    figure, axes = plt.subplots(2, 3)
    for ax in axes.flat:
        image = ax.imshow(np.arange(4.0).reshape(2, 2), vmin=0, vmax=7.5)
    for ax, title in zip(axes[0], ("photo", "truth", "one-shot\nmagnitude"), strict=True):
        ax.set_title(title)
    figure.colorbar(image, ax=axes, label="depth (m)")
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert said == "6 pictures in 2 rows of 3: photo, truth, one-shot magnitude. Colour stands for depth (m), from 0 to 7.5."


def test_a_single_picture_says_where_it_is_largest():
    values = np.ones((30, 60))
    values[2, 35], values[29, 1] = 5, 0
    figure, ax = plt.subplots()
    ax.imshow(values)
    assert describe(figure) == "One picture, largest at the top centre, smallest at the bottom left."
    plt.close(figure)
