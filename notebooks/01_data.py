# %% [markdown]
# # Question, data and floor
#
# ## The question
#
# Take FCRN ([Laina et al. 2016](#ref-laina-2016)), a ResNet-50 with an up-sampling decoder. Keep a fraction $d$ of the encoder's
# convolution weights, fix the others at zero, and train what is left on NYU Depth V2. How small can $d$ be before the
# test error is worse than that of the dense network by more than a margin that was fixed beforehand?
#
# ## Background: lottery tickets
#
# A *ticket* is a mask $m \in \{0, 1\}^n$ over the weights $\theta$. The network computes with $m \odot \theta$, and
# pruned weights stay exactly zero during training. [Frankle & Carbin (2019)](#ref-frankle-2019) found tickets by *iterative magnitude
# pruning*: train, remove the 20 % of the remaining weights with the smallest magnitude, set the others back to where they
# started, repeat. After $k$ rounds a fraction
#
# $$ d_k = 0.8^k $$
#
# is left; $k = 18$ gives 1.80 %. [Chen et al. (2021)](#ref-chen-2021) start from ImageNet weights instead of random ones, so that a ticket
# keeps part of the pre-training. They report that tickets transfer to other tasks, but at 1.80 % theirs lie below the
# dense network on every task they plot. For depth, DiSparse and AdapMTL have columns of single runs in multi-task networks
# ([others' results](#tab-others_table)); of depth alone we know the study under test and a student project with FastDepth.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import figures, plots, study, tables

paper = study.Paper(profile, data, weights, device)

# %% [markdown]
# ## The data
#
# NYU Depth V2 ([Silberman et al. 2012](#ref-silberman-2012)) holds 1449 labelled frames of indoor scenes with the depth of a Kinect, filled in
# where the sensor saw nothing. We use the official split, 795 frames for training and 654 for testing, at half
# resolution (320×240). Validation frames are whole scenes taken out of the training part, so no setting is chosen by
# looking at test frames; the study's own runs, whose settings are fixed, train on them too. Without the data set, the quick profile uses built-in synthetic rooms, in which
# everything is a box, with exact depth, drawn by a small ray caster.

# %%
summary = paper.summary
about = summary.description
caption = f"The data set of this build: {tables.DATA.get(about['name'], about['name'])}, {about['width']}×{about['height']}."
figures.show_table(paper, tables.splits(about), "data_table", caption)

# %%
caption = "Four test frames, evenly spaced through the test set: photo and depth in metres, one colour scale."
alt = "Four photos of rooms, and below each its depth from dark, near, to bright, far."
figures.show(paper, plots.frames(summary), "frames", caption, alt=alt)

# %%
caption = "Distribution of depth over the pixels of each split, 0.2 m bins."
alt = "Three curves over depth that nearly coincide: most pixels lie between one and four metres."
figures.show(paper, plots.histograms(about), "depth_histogram", caption, alt=alt)

# %% [markdown]
# ## The floor
#
# The trivial predictor answers every photo with the mean depth map of the training frames. A network that does not beat
# it by a wide margin has learned nothing about the picture, and comparing it with its pruned copy says nothing about
# pruning. Neither network of the study under test is clearly better than this floor ([chapter 5](05_postmortem.ipynb)).

# %%
caption = "The mean depth map of the training frames, on a colour scale of its own."
alt = "A smooth map without objects: near at the bottom and far in the middle."
figures.show(paper, plots.mean_map(summary), "mean_map", caption, alt=alt)
if floor := [r for r in paper.main if r["arm"] == "floor"]:
    caption = f"The floor: {tables.protocol(floor)}."
    figures.show_table(paper, tables.scores(floor), "floor_table", caption, floor)

# %% [markdown]
# The metrics are those of [Eigen et al. (2014)](#ref-eigen-2014), for prediction $p$ and truth $t$ in metres:
#
# $$ \mathrm{rel} = \frac{1}{N}\sum \frac{|p - t|}{t}, \qquad
#    \mathrm{rms} = \sqrt{\frac{1}{N}\sum (p - t)^2}, \qquad
#    \delta_i = \frac{1}{N}\left|\left\{\max\left(\frac{p}{t}, \frac{t}{p}\right) < 1.25^i\right\}\right| $$
#
# *Pooled*, the headline, takes every valid pixel of the test set as one sample ([Laina et al. 2016](#ref-laina-2016)). Averaged *per image*
# the same network scores less rms; the two must never be compared with each other.
