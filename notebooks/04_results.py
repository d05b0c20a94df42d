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
from lthdepth import figures, plots, tables, viewer
from lthdepth.config import PUBLISHED_FLOOR
from lthdepth.experiments import Desk

figures.style()
desk = Desk(profile, data, weights, device)
found = {study: desk.records(study) for study in desk.studies()}

# %%
for study, records in found.items():
    figures.say(f"{tables.progress(study, records)} {tables.basis(desk, study, records)}")

# %% [markdown]
# ## The comparison
#
# The published rows stand as they were printed, each with its protocol; rows with different protocols must not be
# compared digit by digit. Ours are means ± standard deviation over seeds.

# %% tags=["index"]
for study, records in found.items():
    caption = f"Published results and ours ({study} runs)."
    floor = desk.find(PUBLISHED_FLOOR)
    figures.show_table(desk, tables.comparison(records, floor), f"comparison_table_{study}", caption, [*records, floor])

# %%
for study, records in found.items():
    caption = f"Every scored run ({study} runs): a dot a run."
    figures.show(desk, plots.strip(records), f"runs_{study}", caption, records)

# %% [markdown]
# ## Error against remaining weights

# %%
for study, records in found.items():
    caption = f"Test rms against the remaining prunable weights ({study} runs): dots are runs, lines their mean over seeds."
    figures.show(desk, plots.transfer(records), f"transfer_{study}", caption, records)

# %%
for study, records in found.items():
    caption = f"Test δ1 against the remaining prunable weights ({study} runs)."
    figures.show(desk, plots.transfer(records, "delta1"), f"transfer_delta1_{study}", caption, records)

# %% [markdown]
# ## Depth maps

# %% tags=["index"]
for study, records in found.items():
    maps = desk.predictions(records)
    caption = f"The same test frames through every arm ({study} runs, first seed), one scale in metres."
    figures.show(desk, plots.depth_maps(desk.summary(), maps), f"depth_{study}", caption, records)

# %% [markdown]
# Drag the borders, or move them with the arrow keys, to go between the dense network, a ticket and the truth. Depth and
# error under the pointer stand below the picture.

# %%
viewer.show(desk, found)

# %% [markdown]
# ## Verdict

# %% tags=["index"]
figures.say(tables.verdict(desk, found))

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
