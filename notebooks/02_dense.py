# %% [markdown]
# # The dense network
#
# Before anything is pruned, the network itself must work. This chapter defines it and its training, and shows what it
# learns.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import figures, plots, sentences, study, tables

paper = study.Paper(profile, data, weights, device)

# %% [markdown]
# ## Model
#
# FCRN ([Laina et al. 2016](#ref-laina-2016)) is a ResNet without its classifier, a 1×1 convolution that halves the channels, four
# *up-projections* that each double the resolution and halve the channels, and a 3×3 convolution to one channel: depth in
# metres. An up-projection spreads its input over a grid of twice the size, zeros between, and applies 5×5 convolutions
# in two branches. One transposed convolution computes the same function with a quarter of the multiplications.

# %%
from lthdepth.model import FCRN

backbone = paper.study.configs[-1].backbone
million = sum(p.numel() for p in FCRN(backbone).parameters()) / 1e6
figures.say(f"With {backbone.replace('resnet', 'ResNet-')} the network has {million:.1f} M parameters.")

# %% [markdown]
# ## Loss and training
#
# The loss is the reverse Huber function of $x = p - t$, averaged over the valid pixels of a batch:
#
# $$ B(x) = \begin{cases} |x| & |x| \le c \\ \dfrac{x^2 + c^2}{2c} & |x| > c \end{cases}
#    \qquad c = \tfrac{1}{5} \max |x| $$
#
# Encoder and decoder have their own learning rates. Each frame of each epoch is augmented anew, and every random number
# is a function of the seed, the epoch and the frame alone: a run that was stopped continues exactly, and runs with one
# seed see the same stream whatever their ticket. The input is the whole frame, resized; a zoom by $s$ divides the depth
# by $s$.
#
# The published setting is SGD with rates 1e-4 and 2e-3, momentum 0.9 and weight decay 0.01. Ours was chosen among a few
# by the error on the validation scenes after 2 epochs, and is the same at every budget.

# %%
figures.say(sentences.training(paper))
recipe = paper.records("recipe")
caption = "Settings compared on the validation scenes only (no test frame was looked at), one seed; the last epoch counts. Batch norm: its running statistics, or taken anew from 320 training frames before scoring. Tried when the study had begun, so that they changed nothing in it: a larger input, at the time of 3 epochs of the smaller one; full augmentation (zoom, rotation, mirroring, colours); averaging the last weights; a smaller input first, at the multiply-adds of 2 whole epochs."
figures.show_table(paper, tables.recipe(recipe), "recipe_table", caption, recipe)

# %% [markdown]
# ## What it learns

# %%
for analysis in paper.verdict.budgets.values():
    if analysis.gate:
        figures.say(f"After {analysis.epochs} epochs. {analysis.gate[1]}")

main = [r for r in paper.main if r["arm"] in ("floor", "dense")]
if main:
    caption = f"Dense network and floor, {sentences.budget(paper)}: mean ± sample standard deviation over seeds (n = their number), {tables.protocol(main)}."
    figures.show_table(paper, tables.scores(main), "dense_table", caption, main)

# %%
dense = [r for r in paper.shown if r and r["arm"] == "dense"]
caption = "Training loss of the dense network (reverse Huber, metres): one line a run."
alt = "Training loss falling epoch by epoch."
figures.show(paper, plots.learning_curves(dense), "dense_curves", caption, dense, alt=alt)

# %%
caption = "What the dense network sees (first seed), beside the truth and the mean depth map, one scale in metres: of eight frames evenly spaced through the test set, the four on which it errs least."
alt = "Four rows: photo, true depth, mean depth map and the dense network's depth map."
maps = plots.depth_maps(paper.summary, paper.predictions(main))
figures.show(paper, maps, "dense_depth", caption, main, alt=alt)
