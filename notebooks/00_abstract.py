# %% [markdown]
# # How far can a pre-trained network be pruned before depth suffers?

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

# %%
figure = plots.budgets(paper.verdict)
alt = "Curves of lost accuracy against weights kept: flat near dense, then rising above the dashed margin."
figures.show(paper, figure, "break_even", sentences.headline(paper), paper.shown, alt=alt)

# %%
table, floor = tables.front(paper, paper.published_floor), paper.published_floor
caption = "The published rows as printed, and ours: mean ± sample standard deviation over seeds (n = their number); the best of ours in bold."
sources = [*paper.main, floor, "lthdepth/paper/published.csv"]
figures.show_table(paper, table, "front_table", caption, sources)

# %%
shown = plots.best_and_smallest(paper.main)
caption = "What dense and pruned networks see (first seed), one scale in metres. Of eight frames evenly spaced through the test set, the four on which the dense network errs least."
alt = "Rows of photos, true depth and predicted depth maps: sharp for dense, ever vaguer with fewer weights."
maps = plots.depth_maps(paper.summary, paper.predictions(shown))
figures.show(paper, maps, "depth", caption, shown, alt=alt)

# %%
figures.say(sentences.made(paper))
