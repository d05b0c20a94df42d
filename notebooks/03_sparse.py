# %% [markdown]
# # Tickets
#
# Which weights of the encoder are kept, what that leaves of the network, and how the tickets train.

# %% tags=["parameters"]
profile = "quick"  # "quick": a small experiment, trained here; "paper": the recorded runs
data = None  # rooms, rooms:N, a half-resolution cache .h5, or nyu_depth_v2_labeled.mat
weights = None  # none, IMAGENET1K_V1 ..., or a file with a ResNet state dict
device = "auto"  # auto, cpu or cuda

# %% tags=["remove-input"]
from lthdepth.paper import figures, plots, sentences, study, tables

paper = study.Paper(profile, data, weights, device)

# %% [markdown]
# ## Drawing a ticket
#
# As in [Chen et al. (2021)](#ref-chen-2021), a ticket covers every convolution of the encoder but the first, and magnitudes are compared
# over all layers at once. The *one-shot magnitude* ticket keeps the weights of the pre-trained encoder with
#
# $$ |\theta_i| \ge \tau, \qquad \sum_i m_i = \mathrm{round}(d\,n), $$
#
# ties at the threshold $\tau$ going to the first in network order, so that the count is exact. The decoder is never pruned.
# The others:
#
# | ticket | how it is drawn and trained |
# |---|---|
# | IMP | six trainings of 2 epochs, after each of which the 48.8 % smallest of the remaining weights are pruned (three times 20 %) and the others set back to the pre-trained ones; then the training that is scored, as long as that of the other tickets |
# | IMP with rate rewinding | the same, but the trained weights are kept and only the learning rate starts anew ([Renda et al. 2020](#ref-renda-2020)) |
# | gradual magnitude | in the one training that is scored: from dense along a cubic, its last third under the final ticket ([Zhu & Gupta 2017](#ref-zhu-2017)) |
# | LAMP | one-shot, by magnitudes relative to their layer ([Lee et al. 2021](#ref-lee-2021)) |
# | Fisher | one-shot, by $\theta_i^2$ times the mean squared gradient in a dense training of 2 epochs |
# | distilled | the one-shot magnitude ticket; half of its loss is the distance from the dense network of its seed |
# | random | as many weights, drawn uniformly over all layers: the control that any method must beat |
# | layer-shuffled | as many in each layer as the one-shot magnitude ticket, at random places of the layer |
#
# ## How much is 1.8 %?
#
# "Sparsity" has been printed for different fractions. They are counted here from the masks, for FCRN-ResNet-50 at the runs'
# input size.

# %%
from lthdepth import mask, tickets
from lthdepth.config import level
from lthdepth.model import FCRN

model = FCRN("resnet50")
prunable = mask.prunable(model.encoder.state_dict())
ticket = tickets.random(prunable, level(18), seed=0)
c = next(c for c in paper.study.configs if c.arm == "dense")
d = mask.densities(ticket, model, c.height, c.width)
figures.say(
    f"After 18 rounds {d['counts']['kept']:,} of {d['counts']['prunable']:,} prunable weights are left, "
    f"{100 * d['prunable']:.2f} %. With the first convolution, which is never pruned, that is {100 * d['encoder']:.2f} % of "
    f"the encoder's convolution weights; with the dense decoder, {100 * d['network']:.1f} % of the network's; and a random "
    f"ticket leaves {100 * d['mac']:.1f} % of its multiply-adds. The "
    f"“1.88 %” of the study under test follows from none of these counts."
)

# %%
main = paper.main
caption = f"What each ticket leaves, {sentences.budget(paper)}, first seed: weights, and multiply-adds at the runs' input size."
figures.show_table(paper, tables.densities(main), "density_table", caption, main)

# %% [markdown]
# ## Where the weights are
#
# A random ticket keeps about the same fraction everywhere. A magnitude ticket does not: it follows the scale of each layer's
# weights, and may leave some layers almost empty. A layer-shuffled ticket keeps the same share of every layer as the magnitude
# ticket, in other places, so that their lines coincide.

# %%
caption = "Share of weights kept in every prunable convolution, in the order of the network, first seed, smallest density."
alt = "A line for each way of drawing the ticket over the layers: random flat, magnitude ever lower towards the end."
figures.show(paper, plots.layers(main), "layers", caption, main, alt=alt)

# %% [markdown]
# ## Training them
#
# All arms of one seed share the initial decoder, the order of frames and the augmentation. What a ticket prunes is set
# to zero once, and masks are applied to every gradient, which keeps the optimiser's state of pruned weights at zero too; both are checked to be exactly
# zero whenever a checkpoint is written or read.

# %%
caption = f"Training loss of all arms (reverse Huber, metres), {sentences.budget(paper)}: one line a run, a dash for each density."
alt = "Training loss by epoch, a line a run: the sparsest tickets end highest, those of half the weights at dense."
figures.show(paper, plots.learning_curves(main), "curves", caption, main, alt=alt)

# %% [markdown] tags=["remove-cell"]
# ## Try it yourself
#
# Move the slider: which weights a one-shot magnitude ticket of the encoder keeps, and what a trained
# dense network sees when it is cut to that density without any training after it.

# %% tags=["remove-cell"]
from ipywidgets import FloatLogSlider, interact

from lthdepth.paper import live

state = paper.initial and paper.initial.state or model.encoder.state_dict()


def cut(density):
    ticket = tickets.magnitude(mask.prunable(state), density)
    fewest = min(kept for _, kept, _ in ticket.layers())
    print(f"{ticket.kept:,} of {ticket.size:,} weights; fewest in a layer: {fewest:,}")
    live.photo(paper, cut=density)


_ = interact(cut, density=FloatLogSlider(0.5, base=10, min=-2, max=0, step=0.05))
