# %% [markdown]
# # Results
#
# Everything on this page is rendered from recorded runs; a run that is not recorded is not shown.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %%
from lthdepth.analysis import verdict
from lthdepth.config import ARMS, PUBLISHED_FLOOR
from lthdepth.inference import predict
from lthdepth.paper import curves, figures, findings, plots, tables, viewer
from lthdepth.paper.study import Desk

figures.style()
desk = Desk(profile, data, weights, device)
found = {study: desk.records(study) for study in desk.studies()}
analyses = {study: desk.analyse(study, records).main for study, records in found.items()}

# %%
for study, records in found.items():
    figures.say(
        f"{tables.progress(study, records, len(desk.lost(study)))} {tables.basis(desk, study, records)}"
    )

# %% [markdown]
# ## The comparison
#
# The published rows stand as they were printed, each with its protocol; rows with different protocols must not be
# compared digit by digit. Ours are means ± standard deviation over seeds.

# %% tags=["index"]
for study, records in found.items():
    caption = f"Published results and ours ({study} runs)."
    floor = desk.find(PUBLISHED_FLOOR)
    table = tables.comparison(records, floor)
    figures.show_table(
        desk, table, f"comparison_table_{study}", caption, [*records, floor], files=["lthdepth/published.csv"]
    )

# %%
for study, records in found.items():
    caption = f"Every scored run ({study} runs): a dot a run."
    figures.show(desk, plots.strip(records), f"runs_{study}", caption, records)

# %% [markdown]
# ## Error against remaining weights

# %%
for study, records in found.items():
    caption = f"Test rms against the remaining prunable weights ({study} runs). {curves.TRANSFER}"
    figures.show(
        desk, curves.transfer(records, analysis=analyses[study]), f"transfer_{study}", caption, records
    )

# %%
for study, records in found.items():
    caption = f"Test δ1 against the remaining prunable weights ({study} runs). {curves.TRANSFER}"
    figures.show(desk, curves.transfer(records, "delta1"), f"transfer_delta1_{study}", caption, records)

# %% [markdown]
# ## Beside other tasks
#
# Chen et al. (2021) pruned the same encoder for classification, detection and segmentation. Their metrics rise where ours
# falls, so each task is shown as its change relative to its own dense network, up being worse. A per cent of accuracy is
# not a per cent of rms: the shapes can be compared, and where a curve leaves zero, not the heights.

# %%
for study, records in found.items():
    caption = f"What pruning costs in other tasks and in depth ({study} runs). {curves.BESIDE}"
    figures.show(
        desk,
        curves.beside_published(records),
        f"other_tasks_{study}",
        caption,
        records,
        files=["lthdepth/chen2021.csv"],
    )

# %% [markdown]
# ## Depth maps

# %% tags=["index"]
for study, records in found.items():
    shown = plots.smallest(records)
    caption = f"The same test frames through every arm at its smallest density ({study} runs, first seed), one scale in metres."
    figures.show(
        desk, plots.depth_maps(desk.summary(), desk.predictions(shown)), f"depth_{study}", caption, shown
    )

# %%
for study, records in found.items():
    if shown := plots.across(records):
        caption = (
            f"The same test frames from dense to sparse ({study} runs, first seed), one scale in metres."
        )
        figures.show(
            desk,
            plots.depth_maps(desk.summary(), desk.predictions(shown)),
            f"depth_across_{study}",
            caption,
            shown,
        )

# %%
viewer.show(desk, found)

# %% [markdown] tags=["remove-cell"]
# ### Try it yourself
#
# Name a photo of your own, or another density, and run the cell: the depth map of the network nearest to that density among
# those trained on this machine. `python -m lthdepth predict` writes it to files.

# %% tags=["remove-cell"]
photo = None  # such as "kitchen.jpg"; None: a test frame
density = 0.018  # of the prunable weights; 1: the dense network

predict.show(desk, density, photo)

# %% [markdown]
# ## Verdict
#
# What is tested, and what is concluded in each case, was fixed beforehand in the analysis plan, `PLAN.md`. Differences are
# ticket minus the dense network of the same seed, in metres of test rms: positive is worse.

# %% tags=["index"]
figures.say(tables.verdict(desk, analyses))

# %%
for study, analysis in analyses.items():
    caption = f"Every ticket against dense ({study} runs). {findings.TICKETS}"
    figures.show_table(desk, findings.tickets(analysis), f"verdict_table_{study}", caption, found[study])

# %%
for study, analysis in analyses.items():
    caption = (
        f"Difference of every ticket from the dense network of its seed ({study} runs). {curves.DIFFERENCES}"
    )
    figures.show(desk, curves.differences(analysis), f"differences_{study}", caption, found[study])

# %% [markdown]
# ### Against the controls, and down to which density
#
# A control that fails the test where a ticket passes it is not thereby shown to be worse than the ticket, so the two are
# compared directly. The break-even density is the one at which the mean loss first exceeds the margin on the way down.

# %%
for study, analysis in analyses.items():
    caption = f"How much worse the controls are than {ARMS[verdict.PRIMARY]} ({study} runs). p: one-sided paired t test, Holm."
    figures.show_table(desk, findings.controls(analysis), f"controls_table_{study}", caption, found[study])

# %%
for study, analysis in analyses.items():
    caption = f"Break-even density of every arm ({study} runs). {findings.BREAK_EVEN}"
    figures.show_table(
        desk, findings.break_even(analysis), f"break_even_table_{study}", caption, found[study]
    )

# %% [markdown]
# ### Does the protocol matter?
#
# The same differences under other protocols. The last column leaves out the test scene whose shop is probably in two
# training scenes.

# %%
for study, analysis in analyses.items():
    caption = f"Mean difference in test rms (m) from dense under every protocol ({study} runs)."
    figures.show_table(desk, findings.protocols(analysis), f"protocols_table_{study}", caption, found[study])

# %% [markdown]
# ### How far can these statistics be trusted?
#
# The intervals and tests were tried on made-up studies with a known truth (`benchmarks/simulate.py`). With six seeds the
# t interval and the test keep what they promise where differences are normal; the BCa bootstrap is too narrow with so few
# seeds and only stands beside it. Where a run now and then ends badly, all of them promise too much.

# %%
if desk.profile == "paper":
    caption = (
        "Simulated studies: how often intervals hold the truth and tests pass, ± standard error. "
        + findings.SIMULATED
    )
    figures.show_table(
        desk, findings.simulated(), "simulation_table", caption, files=["benchmarks/statistics.csv"]
    )

# %% [markdown]
# ## Limits
#
# Only the encoder is pruned; the decoder, 63 % of the convolution weights, stays dense. Depth in the half-resolution data
# behind the recorded runs is known to 8 bits (±2 cm), and the ImageNet weights behind them were decoded from a quantised
# network with 72 % top-1 accuracy, not torchvision's own. One training set, one architecture. The frames of the test
# scene bookstore_0001 probably show the same shop as two training scenes.
#
# ## References
#
# - Chen, Frankle, Chang, Liu, Zhang, Carbin, Wang: The Lottery Tickets Hypothesis for Supervised and Self-supervised
#   Pre-training in Computer Vision Models. CVPR 2021. arXiv 2012.06908
# - Eigen, Puhrsch, Fergus: Depth Map Prediction from a Single Image using a Multi-Scale Deep Network. NeurIPS 2014
# - Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks. ICLR 2019
# - Laina, Rupprecht, Belagiannis, Tombari, Navab: Deeper Depth Prediction with Fully Convolutional Residual Networks.
#   3DV 2016. arXiv 1606.00373
# - Martinez, Shewakramani, Liu, Bârsan, Zeng, Urtasun: Permute, Quantize, and Fine-tune: Efficient Compression of Neural
#   Networks. CVPR 2021
# - Silberman, Hoiem, Kohli, Fergus: Indoor Segmentation and Support Inference from RGBD Images. ECCV 2012
# - [The Lottery Tickets Hypothesis for Supervised Pre-training in depth estimation models](https://hajekel.github.io/CV_LTH_pre-training_depth-estimation).
#   Web page of June 2023: the study under test
