# %% [markdown]
# # Post-mortem
#
# The study under test trained FCRN dense and with a 1.8 % ticket and called the outcome inconclusive. Before asking what a
# ticket does to a network, ask whether the network had learnt anything. This chapter sets the published numbers against
# the mean depth map, scored on the same frames, and then turns on each defect of the published code alone.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import figures, plots, sentences, study, tables

paper = study.Paper(profile, data, weights, device)

# %% [markdown]
# ## The published rows against their own floor
#
# The published code trains on frames 0–1199 of the labelled set and reports the errors of the last 50. The fair floor is
# therefore the mean depth map of frames 0–1199 on those 50 frames, not the floor of the official split.
# The paper does not say whether its rms is pooled over pixels or averaged over images, so both are given.

# %%
floor = paper.published_floor
caption = "The published rows and the mean depth map of frames 0–1199, all scored on the last 50 frames."
table, sources = tables.against_floor(floor), [floor, "lthdepth/paper/published.csv"]
figures.show_table(paper, table, "published_floor_table", caption, sources)
figures.say(sentences.against_floor(floor))

# %% [markdown]
# Neither network is clearly better than a prediction that never looks at the picture, in any of the three. Comparing two
# networks at the floor says nothing about tickets, whatever the difference between them.
#
# ## The defects
#
# **Split by index.** Frames 0–1199 train, 1200–1448 validate, instead of the official 795 and 654.

# %%
from lthdepth.analysis import postmortem

figures.say(postmortem.index_split())

# %% [markdown]
# So one kind of room is scored that training hardly shows, and nothing is comparable with the literature.
#
# **No normalisation.** ImageNet's ResNet expects $(x - \mu) / \sigma$ for each channel; it was given $x \in [0, 1]$. Its first
# convolution then sees an offset and less than a quarter of the contrast, until batch norm has adapted.
#
# **No augmentation.** Every epoch shows the same pictures; the network can learn them by heart.
#
# **No shuffling.** Batches are neighbours in the numbering: one kind of room, often one scene. Their gradients point
# where that room wants to go, and batch norm sees the statistics of one room at a time.
#
# **Last batch scored.** The validation loop, whose windows overlap, overwrites its metrics at each batch, so the number that
# is printed is that of the last 50 frames. The “best” epoch is chosen on that number, so it is also biased.
#
# **Weight decay 0.01**, a hundred times the usual penalty: $L(w) + \frac{\lambda}{2} \lVert w \rVert^2$ shrinks every weight by the
# factor $1 - \eta\lambda$ a step. In 240 steps at $\eta = 0.002$ that is half a per cent, harmless; trained to convergence it is not.
# Alone, it is put into the gradient of Adam here, because AdamW, our optimiser, decouples it.
#
# **Loss.** With $x_i = p_i - t_i$ and $V$ the valid pixels, the reverse Huber function was written as
#
# $$ L = \frac{\sum_{i \in V} |x_i| + \sum_{i \in F} x_i^2}{|V| + |F|}, \qquad F = \{ i \in V : |x_i| > c \}, \qquad
#    c = \tfrac{1}{5} \max_i x_i , $$
#
# instead of $(x^2 + c^2)/2c$ beyond $c = \frac{1}{5} \max_{i \in V} |x_i|$. The maximum is signed and over invalid pixels too: where depth is
# underestimated everywhere, $c \le 0$ and every pixel is an outlier. The loss jumps at $c$, and adds metres to square metres.
#
# **240 small steps.** Ten epochs of 24 batches of 50 at a constant rate of 1e-4 for the encoder (2e-3 for the decoder), SGD:
# the training stops where it should begin.
#
# **Crop.** The input is resized to 250 rows and cut to 228×304: 17 % of the frame is neither seen nor scored.
#
# **One run each.** The dense and the sparse network were chosen by commenting code out, without seeds. A difference between
# two single runs has no spread to be held against.

# %% [markdown]
# ## Was it the number of images?
#
# They trained on 12,000: ten epochs of 24 batches of 50. Beside them ours, at another input size and on the official test frames.

# %%
planned = paper.analyse("paper", paper.records("paper"))
figures.say(sentences.training_images(planned, floor))

# %% [markdown]
# That says how two trainings ended, not what a ticket is worth.
#
# ## One at a time
#
# A sound dense network is trained with each defect alone, and then by the published code with all of them: at full size,
# which needs a GPU and is shown once it is recorded, and some of them in small. Protocols
# differ, so each error is divided by that of the mean depth map on the same pixels: 1 is the floor for all.
# The way to the floor is $(r - r_0)/(1 - r_0)$ with $r$ that quotient in rms and $r_0$ the sound network's.

# %%
grid = paper.postmortem()
done, beside = postmortem.used(grid), floor if profile == "paper" else None
if profile == "quick":
    figures.say(
        "Here, in small: the dense network of this build, and the published code at the same size, trained now; three epochs of batches of 16, about the steps of ten epochs of 50 in a third of the time."
    )

# %%
caption = "Errors relative to the mean depth map's on the same pixels (dotted: the floor; line: the sound network). A dot is a run, a bar leads from the sound network to the row's mean."
caption += " Diamonds are the published rows." if beside else ""
alt = "A row a defect and three metrics: dots between the sound network's line and the floor's."
sources = [*done, beside, "lthdepth/paper/published.csv"]
figures.show(paper, plots.postmortem(grid, beside), "postmortem", caption, sources, alt=alt)

caption = "Each defect alone and all together: mean ± sample standard deviation over seeds, pooled over the frames that the row's protocol scores."
figures.show_table(paper, tables.postmortem(grid), "postmortem_table", caption, done)

# %%
if profile == "paper":
    small = paper.postmortem("postmortem-small")
    done = postmortem.used(small)
    figures.say(
        "Some defects alone in a training of two epochs at 60×80 on real frames, scored on the validation scenes. The sound network is the best of the recipe search (mirroring is its only augmentation). One seed a row, and too short a training to show what a defect does: no result."
    )
    caption = (
        "Each defect alone, 60×80, 2 epochs, one seed, scored on the 85 frames of the validation scenes."
    )
    figures.show_table(paper, tables.postmortem(small), "postmortem_small_table", caption, done)
    caption = "The same runs relative to the mean depth map's errors on the same pixels (dotted: the floor; line: the sound network)."
    figures.show(paper, plots.postmortem(small), "postmortem_small", caption, done, alt=alt)
