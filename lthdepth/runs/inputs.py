"""What the runs of a study are made from: frames, initial weights and photos, named and in memory."""

import functools
from dataclasses import dataclass

from ..data import nyu as data
from ..data import photos, weights
from ..training.fit import rows_of
from . import run as runs
from . import studies as experiments


@dataclass(frozen=True)
class Sources:
    """Where the runs of a study take their frames, weights and photos from; small, for sending to a worker."""

    study: str
    data: str
    weights: tuple = (None,)
    photos: str | None = None

    def load(self):
        """`Inputs`. Raises UserError for what cannot be read."""
        frames, main = data.load(self.data), weights.load(self.weights[0])
        if self.study == "quick" and frames.name != "rooms":
            frames = frames.subset(*experiments.QUICK_FRAMES)
        return Inputs(frames, main, self.weights, photos.load(self.photos) if self.photos else None)


class Inputs:
    """Frames, weights and photos in memory."""

    def __init__(self, frames, main, sources, unlabelled):
        self.frames, self.main, self.sources, self.given = frames, main, sources, unlabelled
        self.loaded = {main.backbone: main} if main.backbone else {}

    def initial(self, config):
        """The `weights.Initial` of a configuration; None where none fits."""
        if config.arm == "floor" or self.main.backbone is None and len(self.sources) == 1:
            return self.main
        if config.backbone not in self.loaded:
            self.loaded[config.backbone] = weights.fitting(self.sources, config.backbone)
        return self.loaded[config.backbone]

    def unlabelled(self, config):
        """The `photos.Photos` of a configuration; None for every arm but logits."""
        if config.arm != "logits":
            return None
        return self.given or self._training(tuple(rows_of(self.frames, config)["fit"].tolist()))

    @functools.lru_cache(2)  # noqa: B019  (one for the whole process)
    def _training(self, rows):
        return photos.of_frames(self.frames, list(rows))

    def key(self, config):
        """The name of a configuration's run."""
        return runs.key_of(config, self.frames, self.initial(config), None, self.unlabelled(config))

    def lacks(self, config):
        """What a configuration needs and was not given, in words; "" where all is there."""
        initial = self.initial(config)
        if initial is None:
            return f"weights of a {config.backbone}"
        return "ImageNet weights with their classifier (fc)" * (
            config.arm == "logits" and initial.classifier is None
        )
