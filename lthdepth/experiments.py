"""The paper's grids of runs, by name, and the desk from which notebooks ask for their records."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from . import arms, data, defects, runs, summary, verdict, weights
from .config import PUBLISHED, SMALL, TUNED, Config, level
from .convert import nyu_table
from .errors import UserError, warn
from .train import Diverged, pick_device

# Only mirroring: for runs of a few hundred steps, too short to profit from more.
LIGHT = {"scale": 1.0, "rotation": 0.0, "colour": 0.0}

# Metres, about the mean depth of the rooms and of NYU. So short a training of an encoder that was not pre-trained must not
# spend its first steps on the mean: they teach the whole encoder to ignore the picture, and a ticket that is drawn then, or an
# encoder that goes on from there, may stay at the mean depth map.
MIDDLE = 2.8

# `pretraining.fingerprint` of the recorded runs of the arm "logits": pqf's classifier and one ImageNet photo of each class.
LOGITS = "db099977a78df6ab"

# The full size: the paper's runs, and those of the post-mortem around its dense ones.
FULL = {"epochs": 100, "precision": "bfloat16"}


@dataclass(frozen=True)
class Study:
    """A named grid of runs.

    title: one line for people; configs: the runs, in the order in which they are worth having.
    """

    name: str
    title: str
    configs: tuple


def _arms(base, levels, arms, seeds):
    """The floor, then for every seed the dense run and every arm at every level, smallest density first."""
    yield Config(arm="floor", holdout=base.holdout)  # one for all studies: it knows neither size nor optimiser
    for seed in seeds:
        yield base.replace(arm="dense", seed=seed)
        for density in sorted(levels):
            for arm in arms:
                yield base.replace(arm=arm, density=density, seed=seed)


def study(name, backbone="resnet50"):
    """A `Study` by name; `backbone` matters to "quick" alone. Raises UserError for an unknown name."""
    base = TUNED.replace(backbone=backbone)
    if name == "quick":
        base = base.replace(height=60, width=80, epochs=4, batch=8, lr_decoder=3e-3, bias=MIDDLE, **LIGHT)
        high, low = level(4), level(18)
        configs = [
            Config(arm="floor", holdout=base.holdout),
            base,
            *(base.replace(arm=arm, density=low) for arm in ("omp", "shuffled", "random")),
            base.replace(arm="omp", density=high),
            base.replace(arm="imp", density=high, round_epochs=1),
        ]
        return Study(name, "Quick: a small network trained here", tuple(configs))
    if name == "recipe":
        small = base.replace(height=60, width=80, epochs=2, holdout=True, test=False)
        configs = [
            small.replace(lr_encoder=1e-4, lr_decoder=5e-4, **LIGHT),
            small.replace(**LIGHT),
            PUBLISHED.replace(height=60, width=80, epochs=2, batch=16, test=False),
            small.replace(optimiser="sgd", lr_encoder=1e-2, lr_decoder=5e-2, weight_decay=1e-4, **LIGHT),
            small,
        ]
        return Study(name, "Recipe: settings compared on the validation scenes, 60×80, 2 epochs", tuple(configs))
    if name == "pilot":
        base = base.replace(height=114, width=152, epochs=6, **LIGHT)
        arms = ["omp", "random", "shuffled"]
        configs = [
            *_arms(base, [level(18)], arms, [0]),
            *_arms(base, [level(6), level(12)], arms, [0]),
            *_arms(base, [level(18)], arms, [1]),
            base.replace(arm="imp", density=level(18), round_epochs=1),
        ]
        return Study(name, "Pilot: 114×152, 6 epochs", tuple(dict.fromkeys(configs)))
    if name == "paper":
        base = base.replace(**FULL)
        levels = [level(k) for k in (3, 6, 9, 12, 15, 17, 18)]
        arms = ["omp", "shuffled", "random", "imp", "logits"]
        configs = [
            *_arms(base, levels, arms, range(3)),
            *_arms(base, [level(18)], arms, range(3, 6)),
            *_arms(base, [level(18)], ["reinit", "permuted", "uniform", "finetuned"], range(3)),
            *(base.replace(arm="frozen", seed=seed) for seed in range(3)),
            *(base.replace(arm=small, backbone=small, seed=seed) for small in SMALL for seed in range(3)),
        ]
        return Study(name, "Paper: 228×304, 100 epochs", tuple(dict.fromkeys(configs)))
    if name in POSTMORTEMS:
        return Study(name, POSTMORTEMS[name], defects.configs(postmortem(name)))
    raise UserError(f"unknown study {name!r}; the studies are {', '.join(STUDIES)}.")


def postmortem(name):
    """The rows of a post-mortem, `[(row, Config)]` as `defects.grid`: around the paper's dense runs, or the recipe's best."""
    if name == "postmortem":
        return defects.grid(TUNED.replace(**FULL), range(2))
    base = TUNED.replace(height=60, width=80, epochs=2, holdout=True, test=False, **LIGHT)
    alone = ("no normalisation", "no shuffling", "loss", "crop", "no augmentation", "weight decay 0.01")
    return defects.grid(base, [0], alone, code=False)


POSTMORTEMS = {
    "postmortem": "Post-mortem: 228×304, each defect alone in 100 epochs, two seeds",
    "postmortem-small": "Post-mortem, small: 60×80, 2 epochs, validation scenes, one seed",
}
STUDIES = ("quick", "recipe", "pilot", "paper", *POSTMORTEMS)
PROFILES = ("quick", "paper")
CHECKPOINT = 60.0  # least seconds between two checkpoints: shorter epochs are quicker trained again than written
QUICK_FRAMES = (320, 48)  # train and test frames that a quick run takes of a larger data set


class Desk:
    """Where a notebook asks for records: the data, weights, device and store of one profile.

    Args:
        profile: "quick" (small, trained here, by default on built-in rooms without pre-training) or "paper" (looked up
            in the records; what is missing is trained only where data are given).
        data: source of frames as `data.load`; None: rooms for quick, nothing for paper.
        weights: source of encoder weights as `weights.load`.
        device: "auto", "cpu", "cuda".

    Attributes:
        frames: `frames.Frames`, or None where a paper build has no data; initial: `weights.Initial` or None alike.

    Raises:
        UserError: an unknown profile, or data or weights that cannot be read.
    """

    def __init__(self, profile, data_source=None, weights_source=None, device="auto", store=None):
        if profile not in PROFILES:
            raise UserError(f"unknown profile {profile!r}; say {' or '.join(PROFILES)}.")
        self.profile, self.device, self.store = profile, pick_device(device), store or runs.Store()
        self.live = profile == "quick" or data_source is not None
        if weights_source and not self.live:
            raise UserError("weights without data train nothing; give --data too, or neither to use the recorded runs.")
        self.frames = data.load(data_source or "rooms") if self.live else None
        self.initial = weights.load(weights_source) if self.live else None
        if profile == "quick" and self.frames.name != "rooms":
            self.frames = self.frames.subset(*QUICK_FRAMES)
        self.study = study(profile, self.initial.backbone or "resnet18") if profile == "quick" else study(profile)

    def record(self, config):
        """The record of a configuration; None where it is missing and cannot be trained here, or diverged.

        The arm logits and small networks need sources that only `sweep` takes; here they are looked up.
        """
        if not self.live or config.arm in ("logits", *SMALL):
            return self.find(config)
        try:
            return runs.run(config, self.frames, self.initial, self.store, self.device, self.study.name, every=CHECKPOINT)
        except Diverged as error:  # no result, and no reason to lose the others
            return warn(error)

    def records(self, name=None, arms=None):
        """Records of a study (default: the profile's own) in its order, None for a missing one.

        Args:
            name: another study than the profile's is only looked up, never trained.
            arms: only these arms.
        """
        own = name in (None, self.study.name)
        configs = self.study.configs if own else study(name).configs
        configs = [c for c in configs if arms is None or c.arm in arms]
        return [self.record(c) if own else self.find(c, name) for c in configs]

    def finished(self):
        """Whether nothing is left to train here."""
        marks = self.live and (self.frames.fingerprint, self.initial.fingerprint)
        return not self.live or all(runs.key(c, *marks) in self._known for c in self.study.configs)

    def lost(self, name):
        """The planned runs of a study that diverged, or whose ticket follows from a run that did.

        Returns:
            A record of each, with the status "failed" and without scores.
        """
        own = self.live and name == self.study.name
        marks = (self.frames.fingerprint, self.initial.fingerprint) if own else self.basis(name)[:2]
        failed = {Config(**r["config"]): r for r in self._failed.values() if _made_of(r, *marks)}
        found = []
        for config in self.study.configs if own else study(name).configs:
            first = config
            while first and first not in failed:
                first = arms.parent_of(first)
            if first:
                its = {"key": runs.key(config, *marks), "arm": config.arm, "density": config.density, "seed": config.seed}
                found.append(failed[first] | its | {"test": None})
        return found

    def studies(self):
        """Names of the studies this profile shows, its own first."""
        return ("quick",) if self.profile == "quick" else ("paper", "pilot")

    @cached_property
    def _known(self):
        return self.store.records()

    @cached_property
    def _failed(self):
        return self.store.failed()

    def basis(self, name):
        """The data and initial weights behind a study's recorded and failed runs, since a run's key depends on both.

        Where runs with several sets are recorded, the set with the most runs counts; where the study has none yet, the
        set with the most runs of all studies made for the paper.

        Returns:
            `(data, init, others)`: fingerprints, None where nothing is recorded; number of the study's runs with others.
        """
        made = (self._known | self._failed).values()
        trained = [r for r in made if r["arm"] != "floor" and r["study"] in STUDIES[1:]]
        own = [r for r in trained if r["study"] == name]
        sets = Counter((r["data"]["fingerprint"], r["init"]["fingerprint"]) for r in own or trained)
        if not sets:
            return None, None, 0
        (chosen, most), *_ = sets.most_common(1)
        return *chosen, len(own) - most if own else 0

    def summary(self):
        """The `summary.Summary` of the data: of the frames at hand, or of the recorded NYU Depth V2."""
        return self._shown

    @cached_property
    def _shown(self):
        path = self.store.recorded / "nyu_summary.h5"
        if self.profile == "quick":
            return summary.summarise(self.frames)
        recorded = summary.load(path)
        same = self.frames is None or self.frames.fingerprint == recorded.description["fingerprint"]
        return recorded if same else summary.summarise(self.frames)

    def predictions(self, records):
        """Depth maps of the gallery by column title `{label: (8, h, w)}`, one a record that has them for these frames."""
        found = {}
        for r in records:
            if r and r["data"]["name"] == self.summary().description["name"]:
                maps = self.store.arrays(r["key"]).get("gallery")
                if maps is not None:
                    found.setdefault(runs.label(r), maps)
        return found

    def rounds(self, records):
        """The dense run and every round behind the smallest IMP ticket of the lowest seed, as far as they are recorded."""
        last = min((r for r in records if r and r["arm"] == "imp"), key=lambda r: (r["seed"], r["density"]), default=None)
        chain, known = [], self.store.records()
        config = last and Config(**last["config"])
        while config:
            chain.append(known.get(runs.key(config, last["data"]["fingerprint"], last["init"]["fingerprint"])))
            config = arms.parent_of(config)
        return [r for r in reversed(chain) if r]

    def analyse(self, name, records):
        """The `verdict.Analysis` of a study's records, from them and their per-image error sums alone.

        Runs of the study that are `lost` take the places of missing ones.
        """
        done = [r for r in records if r]
        keys = {r["key"] for r in done}
        failed = [r for r in self.lost(name) if r["key"] not in keys]
        missing = [None] * (len(records) - len(done) - len(failed))
        return verdict.analyse(name, [*done, *failed, *missing], self.store.arrays, self.scenes(records))

    def scenes(self, records):
        """Scene of every frame of the data set behind some records, by frame index; None where it is not known."""
        used = {r["data"]["fingerprint"] for r in records if r}
        if self.frames is not None and used == {self.frames.fingerprint}:
            return self.frames.scene
        nyu = self.summary().description["fingerprint"] if self.profile == "paper" else None
        return nyu_table()[1] if used == {nyu} else None

    def find(self, config, name=None):
        """The recorded run of a configuration on the data and weights of a study (default: the profile's own), or None."""
        data_mark, init_mark, _ = self.basis(name or self.study.name)
        if config.arm in SMALL:
            same = (r for r in self._known.values() if r["arm"] == config.arm and Config(**r["config"]) == config)
            return next((r for r in same if _made_of(r, data_mark, init_mark)), None)
        return data_mark and self._known.get(runs.key(config, data_mark, init_mark, LOGITS if config.arm == "logits" else ""))


def _made_of(record, data, init):
    """Whether a run was made on some data and weights, by fingerprint; small networks have weights of their own."""
    return record["data"]["fingerprint"] == data and (record["arm"] in SMALL or record["init"]["fingerprint"] == init)
