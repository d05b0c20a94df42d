"""lthdepth: can an ImageNet-pre-trained network be pruned to a few per cent without hurting depth estimation?

FCRN (Laina et al. 2016), lottery tickets, losses, metrics and a store of runs. The notebooks of this
repository are the paper; everything they compute lives here.
"""

__version__ = "0.1.0"
