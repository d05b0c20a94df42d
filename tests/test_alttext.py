"""Alternative texts: what they say is what was drawn."""

import matplotlib.pyplot as plt
import numpy as np

from lthdepth.paper.alttext import describe


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
    assert (
        said
        == "Chart of rms (m) against epoch: dense from 2 to 0.5, between 0.25 and 2; IMP from 1 to 3; mean depth map, level at 1.2; 2 dots."
    )


def test_panels_bars_and_categories():
    figure, (one, two) = plt.subplots(1, 2)
    one.hist([[1, 1, 2], [2, 2, 2]], [0.5, 1.5, 2.5], label=["train", "test"])
    one.set(xlabel="frames in a scene", ylabel="scenes")
    two.scatter([0.1, 0.2, 0.3, 0.2], [0, 1, 1, 0.97])
    two.set_yticks([0, 1], ["dense", "random"])
    two.set_xlabel("rms (m)")
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert (
        "Panel 1: chart of scenes against frames in a scene: train, bars of 1 to 2; test, bars of 0 to 3."
        in said
    )
    assert (
        "Panel 2: chart of dense, random against rms (m): random 0.2 to 0.3; dense 0.1." in said
    )  # from the top


def test_words_beside_dots_names_of_bars_and_shared_axes_are_said():
    figure, axes = plt.subplots(1, 3, figsize=(12, 3))
    for x, y, name in ((150, 1.1, "random"), (180, 0.8, "dense")):
        axes[0].plot(x, y, "o")
        axes[0].annotate(name, (x, y), (6, 4), textcoords="offset points")
    axes[0].set(xlabel="time (ms)", ylabel="rms (m)")
    axes[1].barh(0, 3, color="C0")
    axes[1].barh(0, 2, left=3, color="C1")
    axes[1].barh(1, 9)
    axes[1].set_yticks([0, 1], ["sparse", "dense"])
    axes[1].set_xlabel("size (MB)")
    axes[2].bar(range(2), [4.0, 7.0], label="as run")
    axes[2].set_xticks(range(2), ["conv1", "conv2"])
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert "against time (ms): random at 150, 1.1; dense at 180, 0.8." in said
    assert (
        "against size (MB): sparse 5; dense 9." in said
        and "as run, bars of 4 to 7, highest at conv2." in said
    )
    figure, (left, right) = plt.subplots(1, 2, sharey=True)
    for ax, x in ((left, 0.5), (right, 2.5)):
        ax.plot([x, x], [0, 1], "o")
    left.set_yticks([0, 1], ["sound", "crop"])
    left.set_ylabel("defect")
    figure.canvas.draw()
    said = describe(figure)
    plt.close(figure)
    assert "Panel 2: chart of defect (sound, crop) against position: crop 2.5; sound 2.5." in said


def test_a_line_is_read_from_left_to_right_whichever_way_its_axis_runs():
    figure, ax = plt.subplots()
    ax.plot([1.8, 100], [1.1, 0.8], label="random")
    figure.canvas.draw()
    assert "random from 1.1 to 0.8" in describe(figure)
    ax.invert_xaxis()
    figure.canvas.draw()
    assert "random from 0.8 to 1.1" in describe(figure)
    plt.close(figure)


def test_a_matrix_gives_its_values_by_name():
    figure, ax = plt.subplots()
    ax.imshow(np.array([[0.06, np.nan], [0.01, 0.02]]))
    ax.set_xticks(range(2), ["omp", "random"])
    ax.set_yticks(range(2), ["random", "shuffled"])
    figure.canvas.draw()
    assert (
        describe(figure)
        == "A square for each pair of 3: random and omp, 0.06; shuffled and omp, 0.01; shuffled and random, 0.02."
    )
    ax.imshow(np.arange(9.0).reshape(3, 3))
    ax.images[0].remove()
    for side, names in (("x", "abc"), ("y", "def")):
        getattr(ax, f"set_{side}ticks")(range(3), list(names))
    figure.canvas.draw()
    assert describe(figure) == "A square for each pair of 6: least for d and a, 0; greatest for f and c, 8."
    plt.close(figure)


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
    assert (
        said
        == "6 pictures in 2 rows of 3: photo, truth, one-shot magnitude. Colour stands for depth (m), from 0 to 7.5."
    )


def test_a_single_picture_says_where_it_is_largest():
    values = np.ones((30, 60))
    values[2, 35], values[29, 1] = 5, 0
    figure, ax = plt.subplots()
    ax.imshow(values)
    assert describe(figure) == "One picture, largest at the top centre, smallest at the bottom left."
    plt.close(figure)
