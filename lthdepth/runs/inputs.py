"""What runs are made from: frames, initial weights, photos and a ticket file, in memory; and the key of a
run.
"""

import functools
import hashlib
from dataclasses import dataclass

from ..config import SCIENCE_VERSION
from ..data import photos as photo_files
from ..data.frames import Frames
from ..data.photos import Photos
from ..data.weights import Initial
from ..errors import UserError
from ..mask import Ticket
from ..training import logits
from ..training.evaluate import rows_of


def key(config, data, init, ticket=""):
    """Name of a run: the first 16 hex digits of a SHA-256.

    Args:
        config: `Config`; data, init: fingerprints of the frames and of the initial weights.
        ticket: fingerprint of what a ticket follows from beside these: the file's, or `logits.fingerprint`.
    """
    if config.arm == "floor":  # it knows neither network nor optimiser: only the protocol and the data count
        config, init = config.floor(), "none"
    parts = [config.canonical(), data, init, ticket, str(SCIENCE_VERSION)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one run, or all runs of a study, are made from.

    initial: `weights.Initial`, or several where a study has networks of several backbones; photos:
        `photos.Photos` of
    the arm logits (None: the training frames); ticket: `mask.Ticket` of the arm file.
    """

    frames: Frames
    initial: Initial | tuple[Initial, ...]
    photos: Photos | None = None
    ticket: Ticket | None = None

    def weights(self, config):
        """The `weights.Initial` of a configuration; None where none has its backbone."""
        several = self.initial if isinstance(self.initial, tuple) else (self.initial,)
        if config.arm == "floor":
            return several[0]
        return next((w for w in several if w.backbone in (None, config.backbone)), None)

    def unlabelled(self, config):
        """The `photos.Photos` of the arm logits."""
        return self.photos or _training_photos(
            self.frames, tuple(rows_of(self.frames, config)["fit"].tolist())
        )

    def key(self, config):
        """The name of a configuration's run. Raises UserError as `check`, and for weights without a
        classifier.
        """
        self.check(config)
        mark = self.ticket.fingerprint if self.ticket else ""
        if config.arm == "logits":
            mark = logits.fingerprint(self.weights(config), self.unlabelled(config))
        return key(config, self.frames.fingerprint, self.weights(config).fingerprint, mark)

    def lacks(self, config):
        """What a configuration needs and was not given, in words; "" where all is there."""
        initial = self.weights(config)
        if initial is None:
            return f"weights of a {config.backbone}"
        if config.arm == "logits" and initial.classifier is None:
            return "ImageNet weights with their classifier (fc)"
        return ""

    def check(self, config):
        """Raises UserError: the weights are of another backbone; the arm file without a ticket, or the
        reverse.
        """
        if self.weights(config) is None:
            given = self.initial[0] if isinstance(self.initial, tuple) else self.initial
            raise UserError(
                f"the weights {given.name} are of a {given.backbone}, the backbone is {config.backbone}."
            )
        if (config.arm == "file") != (self.ticket is not None):
            raise UserError("the arm file needs a mask file, and only that arm takes one.")


@functools.lru_cache(2)
def _training_photos(frames, rows):
    return photo_files.of_frames(frames, list(rows))
