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
from lthdepth.paper import cost, figures, sentences, study

paper = study.Paper(profile, data, weights, device)

# %% tags=["index"]
measured, files = cost.measured(paper), ["results/cost.json"] if profile == "paper" else []
figures.say(cost.reading(measured))

# %% tags=["index"]
caption = f"One picture at a time: {cost.setting(measured)}. "
caption += f"The least of {measured['repeats']} timings; speed-ups over the folded network."
figures.show_table(paper, cost.table(measured), "cost_table", caption, files)

# %% [markdown]
# ## How it is run
#
# **Dense** is the trained network as it is. **Folded**: batch norm is an affine map at inference, so it moves
# into the convolution before it; this is the fair baseline for everything below. Both run in the quicker of
# two memory orders. **Sparse**: in the folded encoder, every convolution runs in the way that was quickest
# when measured here, with its own input: densely, as a product of a sparse matrix in torch, or by a compiled
# loop over the kept weights,
#
# $$ y_o = b_o + \sum_{i \in K_o} w_i \, x[s_i : s_i + n], $$
#
# where $K_o$ are the kept weights of output channel $o$ and $s_i$ is where the input of weight $i$ begins in
# a layout in which the input of every weight is one run of memory. The decoder stays dense. All forms compute
# the same depth, up to the order of additions.
#
# With $T$ the time of the folded network, $E$ that of its encoder and $E'$ that of the sparse one, Amdahl's
# law predicts
#
# $$ \frac{T}{T - E + E'} $$
#
# end to end. Encoder and network are timed apart, so that a gain can pass it by the noise of two
# timings. On disk, a pruned layer is its kept values and one bit a weight that says where they stand,
# compressed.

# %%
caption = (
    f"Time of every convolution of the encoder, dense (grey) and as it is run: {cost.setting(measured)}."
)
alt = "A bar a convolution, from the first to the last: much of the dense time is left, most of it in the early layers."
figures.show(paper, cost.layers(measured), "cost_layers", caption, files, alt=alt)

# %% [markdown]
# ## Against density
#
# The early layers work on large pictures and keep many of their weights under a magnitude ticket, so they
# gain little; the late ones are almost empty and take a fraction of their dense time. What is fast has lost depth: the
# last column is what the ticket loses against dense when it is trained, at the paper's main budget.

# %%
caption = f"Gain and loss of one-shot magnitude tickets. Time: {cost.setting(measured).partition(', ')[2]}. Loss: mean difference in test rms from dense, {sentences.budget(paper)}."
table = cost.beside_loss(measured, paper.verdict.main)
figures.show_table(paper, table, "cost_loss_table", caption, [*files, *paper.main])

# %% tags=["index"]
caption = f"Speed-up over the folded network: {cost.setting(measured).partition(', ')[2]}. "
caption += "Dashes: what Amdahl's law predicts end to end."
alt = "Speed-up against weights kept: of the encoder it grows as they get fewer, end to end much less."
figures.show(paper, cost.speedup(measured), "cost_speedup", caption, files, alt=alt)

# %% [markdown]
# ## What does not pay
#
# Sparse products in layers that keep many of their weights: there the dense ones are quicker. And anything,
# end to end, once the encoder is quick: the decoder takes most of the time and of the bytes. Even an encoder
# that took no time would speed up the whole by no more than the dotted line, so the next factor is in the
# decoder and not in a sparser ticket.
