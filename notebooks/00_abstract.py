# %% [markdown]
# # How far can a pre-trained encoder be pruned before depth suffers?

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import figures, plots, sentences, study, tables

paper = study.Paper(profile, data, weights, device)

# %%
figures.say(f"**Abstract.** {sentences.abstract(paper)}")

# %% [markdown]
# Networks that estimate depth from one photo start from an encoder trained to classify ImageNet. We keep only part of its
# weights (a *ticket*), train what is left on NYU Depth V2, and compare it with the dense network of the same seed and the same
# training, by a plan and a margin fixed beforehand. A
# [study before us](https://hajekel.github.io/CV_LTH_pre-training_depth-estimation), here under test, asked the question at
# 1.8 % and called its result inconclusive. We find why: neither of its networks is clearly better than predicting the mean
# depth map, so that a worse ticket cannot be told from a worse training ([chapter 5](05_postmortem.ipynb)).

# %%
from lthdepth.analysis.stats import MARGIN

caption = f"Test rms of the one-shot magnitude ticket minus that of the dense network of the same seed and budget, in metres, against the weights kept: dots are seeds, lines their mean, the dashed line is the margin of {MARGIN:.3f} m; diamonds mark where the mean first exceeds it. The axis is linear up to the margin and logarithmic beyond. Beside it, for two budgets or more: that break-even density against the training budget, with its 95 % interval where there is one; no further than the levels tried; grey: single seeds; triangles: beyond the levels tried. Input {sentences.size(paper)}."
alt = "Curves of lost accuracy against weights kept: flat near dense, then rising above the dashed margin."
figures.show(paper, plots.budgets(paper.verdict), "break_even", caption, paper.shown, alt=alt)

# %%
table, floor = tables.front(paper, paper.published_floor), paper.published_floor
caption = "The published rows as printed, and ours: mean ± sample standard deviation over seeds (n = their number); the best of our rows in bold. Losses in the text are paired by seed, and differ from differences of these means. Both kinds of IMP have earlier rounds, which the others do without."
sources = [*paper.main, floor, "lthdepth/paper/published.csv"]
figures.show_table(paper, table, "front_table", caption, sources)

# %%
shown = plots.half_and_smallest(paper.main)
caption = "What dense and pruned networks see (first seed), one scale in metres. Of eight frames evenly spaced through the test set, the four on which the dense network errs least."
alt = "Rows of photos, true depth and predicted depth maps: sharp for dense, ever vaguer with fewer weights."
maps = plots.depth_maps(paper.summary, paper.predictions(shown))
figures.show(paper, maps, "depth", caption, shown, alt=alt)

# %% [markdown]
# The recorded runs belong to a plan (`PLAN.md`) written before them and after a pilot. After the first ten of them the level of
# 80 % was added, and later the order of the runs was changed, four times, and it was settled how a single seed is read; the plan says each with what had been seen. Training
# settings were chosen on validation scenes.
# Runs of one seed share the decoder's start, the order of the frames and the augmentation, so that tickets and dense networks
# are compared in pairs. Our results are rendered from recorded runs, published numbers, timings and simulations from files:
# each figure and table says which below it, and `./build.sh` makes all of it again.
