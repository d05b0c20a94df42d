# %% [markdown]
# # Cost
#
# What does a ticket buy today, on an ordinary processor, in milliseconds and megabytes? Multiply-adds that
# are skipped on paper are not time: zeros must be skipped by code that is quicker than the dense products it
# replaces, and whatever stays dense bounds the gain.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import cost, figures, study

paper = study.Paper(profile, data, weights, device)

# %% tags=["index"]
measured, files = cost.measured(paper), ["results/cost.json"] if profile == "paper" else []
figures.say(cost.reading(measured))

# %% tags=["index"]
caption = f"One picture at a time: {cost.setting(measured)}. "
caption += "Medians; speed-ups over the dense and the folded network."
figures.show_table(paper, cost.table(measured), "cost_table", caption, files)

# %% [markdown]
# ## How it is run
#
# **Dense** is the trained network as it is. **Folded**: batch norm is an affine map at inference, so it moves
# into the convolution before it; this is the fair baseline for everything below. **Compacted**: channels
# inside residual blocks that nobody reads, or that are constant because nothing comes in, are removed
# exactly. Before a 1×1 convolution the constant $\mathrm{relu}(b)$ moves into the bias; before a padded 3×3
# convolution the channel stays, since at the border the constant meets the padding. **Sparse**: on the
# compacted encoder, every convolution runs in the way that was quickest when measured here, with its own
# input: densely, as a product of a sparse matrix in torch, or by a compiled loop over the kept weights,
#
# $$ y_o = b_o + \sum_{i \in K_o} w_i \, x[s_i : s_i + n], $$
#
# where $K_o$ are the kept weights of output channel $o$ and $s_i$ is where the input of weight $i$ begins in
# a layout in which the input of every weight is one run of memory. The decoder stays dense. All forms compute
# the same depth, up to the order of additions.
#
# With $T$ the time of the folded network, $E$ that of its encoder and $E'$ that of the sparse one, Amdahl's
# law allows
#
# $$ \frac{T}{T - E + E'} $$
#
# end to end. Encoder and network are timed apart, so that a gain can pass the bound by the noise of two
# timings. The row with the decoder pruned too is timing alone: nobody has trained that network, and what it
# would predict is unknown.

# %%
caption = (
    f"Time of every convolution of the encoder, dense (grey) and as it is run: {cost.setting(measured)}."
)
alt = (
    "A bar a convolution, from the first to the last: the time that is left is a small part of the dense one."
)
figures.show(paper, cost.layers(measured), "cost_layers", caption, files, alt=alt)

# %% [markdown]
# ## Against density
#
# The early layers work on large pictures and keep many of their weights under a magnitude ticket, so they
# gain little; the late ones are almost empty and almost free. A random ticket spreads its weights evenly,
# which leaves fewer multiply-adds.

# %% tags=["index"]
caption = f"Speed-up over the folded network: {cost.setting(measured)}. "
caption += "Dashes: what Amdahl's law allows end to end."
alt = "Speed-up against weights kept: of the encoder it grows as they get fewer, end to end much less."
figures.show(paper, cost.speedup(measured), "cost_speedup", caption, files, alt=alt)

# %%
caption = f"Every ticket measured, sparse against folded: {cost.setting(measured, False)}."
figures.show_table(paper, cost.levels(measured), f"cost_levels_table_{paper.study.name}", caption, files)

# %% [markdown]
# ## Bytes
#
# A pruned layer is stored as its kept values and one bit a weight that says where they stand, compressed. The
# decoder is most of what is left.

# %%
caption = f"Size on disk: {cost.setting(measured)}."
alt = "Bars in megabytes: of the network most is the decoder, which is not pruned; of the encoder little is left."
figures.show(paper, cost.on_disk(measured), "cost_bytes", caption, files, alt=alt)

# %% [markdown]
# ## What does not pay
#
# Removing channels alone: global magnitude pruning leaves almost every channel a weight or two. General
# sparse products where more than about a tenth of the weights are left. Anything, end to end, once the
# encoder is quick: the decoder takes most of the time and of the bytes, so the next factor is there and not
# in a sparser ticket.
