# %% [markdown]
# # How far can a pre-trained network be pruned before depth suffers?

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %%
from lthdepth.config import PUBLISHED_FLOOR
from lthdepth.paper import curves, figures, findings, plots
from lthdepth.paper.study import Paper

figures.style()
paper = Paper(profile, data, weights, device)
floor = paper.find(PUBLISHED_FLOOR)

# %%
figures.say(f"**Abstract.** {findings.abstract(paper)}")

# %%
caption = findings.headline(paper)
alt = "Curves of lost accuracy against weights kept: flat near dense, then rising above the dashed margin."
figures.show(paper, curves.budgets(paper.verdict), "break_even", caption, paper.shown, alt=alt)

# %%
caption = "The published rows as printed, and ours: mean ± sample standard deviation over seeds."
table = findings.front(paper, floor)
figures.show_table(
    paper, table, "front_table", caption, [*paper.main, floor], files=["lthdepth/paper/published.csv"]
)

# %%
shown = plots.best_and_smallest(paper.main)
caption = "Test frames, evenly spaced through the test set and chosen before any run, through dense and pruned networks."
maps = plots.depth_maps(paper.summary(), paper.predictions(shown))
alt = "Rows of photos, true depth and predicted depth maps: sharp for dense, ever vaguer with fewer weights."
figures.show(paper, maps, "depth", caption, shown, alt=alt)

# %%
figures.say(findings.made(paper))
