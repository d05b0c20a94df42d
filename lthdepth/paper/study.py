"""The paper as its notebooks see it: the records of a profile, and the study they stand for."""

from collections import Counter
from functools import cached_property

from ..analysis import verdict
from ..analysis.scores import budget, of_budget
from ..config import SMALL
from ..data import nyu as data
from ..data import summary, weights
from ..data.nyu import nyu_table
from ..errors import UserError, warn
from ..runs import run as runs
from ..runs import studies as experiments
from ..runs.record import Record
from ..training import arms
from ..training.fit import Diverged, pick_device

PROFILES = ("quick", "paper")
FRONT = 4  # runs of the main budget from which the paper's study stands in front
SOURCED = ("logits", *SMALL)  # arms that need sources of their own, which only `sweep` takes
CHECKPOINT = (
    60.0  # least seconds between two checkpoints: shorter epochs are quicker trained again than written
)

# `pretraining.fingerprint` of the recorded runs of the arm "logits": pqf's classifier and one ImageNet photo
# of each class.
LOGITS = "db099977a78df6ab"


class Paper:
    """Where a notebook asks for records: the data, weights, device and store of one profile.

    Args:
        profile: "quick" (small, trained here, by default on built-in rooms without pre-training) or "paper"
            (looked up in the records; what is missing is trained only where data are given).
        data: source of frames as `data.load`; None: rooms for quick, nothing for paper.
        weights: source of encoder weights as `weights.load`.
        device: "auto", "cpu", "cuda".

    Attributes:
        frames: `frames.Frames`, or None where a paper build has no data; initial: `weights.Initial` or None
            alike.

    Raises:
        UserError: an unknown profile, or data or weights that cannot be read.
    """

    def __init__(self, profile, data_source=None, weights_source=None, device="auto", store=None):
        if profile not in PROFILES:
            raise UserError(f"unknown profile {profile!r}; say {' or '.join(PROFILES)}.")
        self.profile, self.device, self.store = profile, pick_device(device), store or runs.Store()
        self.live = profile == "quick" or data_source is not None
        if weights_source and not self.live:
            raise UserError(
                "weights without data train nothing; give --data too, or neither to use the recorded runs."
            )
        self.frames = data.load(data_source or "rooms") if self.live else None
        self.initial = weights.load(weights_source) if self.live else None
        if profile == "quick" and self.frames.name != "rooms":
            self.frames = self.frames.subset(*experiments.QUICK_FRAMES)
        self.study = (
            experiments.study(profile, self.initial.backbone or "resnet18")
            if profile == "quick"
            else experiments.study(profile)
        )

    def record(self, config):
        """The record of a configuration; None where it is missing and cannot be trained here, or diverged.

        Arms that need sources of their own are looked up.
        """
        if not self.live or config.arm in SOURCED:
            return self.find(config)
        try:
            return runs.run(
                config,
                runs.Inputs(self.frames, self.initial),
                self.store,
                runs.Options(device=self.device, every=CHECKPOINT),
                study=self.study.name,
            )
        except Diverged as error:  # no result, and no reason to lose the others
            return warn(error)

    def records(self, name=None, arms=None):
        """Records of a study (default: the profile's own) in its order, None for a missing one.

        Args:
            name: another study than the profile's is only looked up, never trained.
            arms: only these arms.
        """
        own = name in (None, self.study.name)
        configs = self.study.configs if own else experiments.study(name).configs
        configs = [c for c in configs if arms is None or c.arm in arms]
        return [self.record(c) if own else self.find(c, name) for c in configs]

    def finished(self):
        """Whether nothing is left to train here."""
        marks = self.live and (self.frames.fingerprint, self.initial.fingerprint)
        return not self.live or all(
            runs.key(c, *marks) in self._known for c in self.study.configs if c.arm not in SOURCED
        )

    def lost(self, name):
        """The planned runs of a study that diverged, or whose ticket follows from a run that did.

        Returns:
            A record of each, with the status "failed" and without scores.
        """
        own = self.live and name == self.study.name
        marks = (self.frames.fingerprint, self.initial.fingerprint) if own else self.basis(name)[:2]
        failed = {r.config: r for r in self._failed.values() if _made_of(r, *marks)}
        found = []
        for config in self.study.configs if own else experiments.study(name).configs:
            if first := next((c for c in arms.lineage(config) if c in failed), None):
                its = {
                    "key": runs.key(config, *marks),
                    "arm": config.arm,
                    "density": config.density,
                    "seed": config.seed,
                }
                found.append(failed[first] | its | {"test": None})
        return found

    @cached_property
    def front(self):
        """Name of the one study that is shown: the pilot until the paper's has a curve at its main budget."""
        if self.profile == "quick":
            return "quick"
        if self.live:
            return "paper"
        main = [r["arm"] for r in self.records("paper") if r and budget(r) == experiments.MAIN]
        return "paper" if "dense" in main and len(main) >= FRONT else "pilot"

    def studies(self):
        """The study in front, alone."""
        return (self.front,)

    @cached_property
    def shown(self):
        """The records of the study in front, None for a missing one."""
        return self.records(self.front)

    @cached_property
    def verdict(self):
        """The `verdict.Verdict` of the study in front."""
        return self.analyse(self.front, self.shown)

    @property
    def main(self):
        """The records of the study in front at its main budget, the floor's first."""
        return of_budget(self.shown, self.verdict.main.epochs)

    @cached_property
    def _known(self):
        return self.store.records()

    @cached_property
    def _failed(self):
        return self.store.failed()

    def basis(self, name):
        """The data and initial weights behind a study's recorded and failed runs, since a run's key depends
        on both.

        Where runs with several sets are recorded, the set with the most runs counts; where the study has none
        yet, the set with the most runs of all studies made for the paper.

        Returns:
            `(data, init, others)`: fingerprints, None where nothing is recorded; number of the study's runs
            with others.
        """
        made = (self._known | self._failed).values()
        trained = [r for r in made if r["arm"] != "floor" and r["study"] not in ("quick", "own")]
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
        """Depth maps of the gallery by column title `{label: (8, h, w)}`, one a record that has them for
        these frames.
        """
        found = {}
        for r in records:
            if r and r["data"]["name"] == self.summary().description["name"]:
                maps = self.store.arrays(r["key"]).get("gallery")
                if maps is not None:
                    found.setdefault(runs.label(r), maps)
        return found

    def rounds(self, records):
        """The dense run and every round behind the smallest IMP ticket of the lowest seed, as far as they are
        recorded.
        """
        last = min(
            (r for r in records if r and r["arm"] == "imp"),
            key=lambda r: (r["seed"], r["density"]),
            default=None,
        )
        if last is None:
            return []
        marks, known = (last["data"]["fingerprint"], last["init"]["fingerprint"]), self.store.records()
        chain = [known.get(runs.key(config, *marks)) for config in arms.lineage(Record(last).config)]
        return [r for r in reversed(chain) if r]

    def analyse(self, name, records):
        """The `verdict.Analysis` of a study's records, from them and their per-image error sums alone.

        Runs of the study that are `lost` take the places of missing ones.
        """
        done = [r for r in records if r]
        keys = {r["key"] for r in done}
        failed = [r for r in self.lost(name) if r["key"] not in keys]
        missing = [None] * (len(records) - len(done) - len(failed))
        records, main = [*done, *failed, *missing], experiments.MAIN if name == "paper" else None
        return verdict.analyse(name, records, self.store.arrays, self.scenes(done), main)

    def scenes(self, records):
        """Scene of every frame of the data set behind some records, by frame index; None where it is not
        known.
        """
        used = {r["data"]["fingerprint"] for r in records if r}
        if self.frames is not None and used == {self.frames.fingerprint}:
            return self.frames.scene
        nyu = self.summary().description["fingerprint"] if self.profile == "paper" else None
        return nyu_table()[1] if used == {nyu} else None

    def find(self, config, name=None):
        """The recorded run of a configuration on the data and weights of a study (default: the profile's
        own), or None.
        """
        data_mark, init_mark, _ = self.basis(name or self.study.name)
        if config.arm in SMALL:
            same = (r for r in self._known.values() if r["arm"] == config.arm and r.config == config)
            return next((r for r in same if _made_of(r, data_mark, init_mark)), None)
        return data_mark and self._known.get(
            runs.key(config, data_mark, init_mark, LOGITS if config.arm == "logits" else "")
        )


def _made_of(record, data, init):
    """Whether a run was made on some data and weights, by fingerprint; small networks have weights of their
    own.
    """
    return record["data"]["fingerprint"] == data and (
        record["arm"] in SMALL or record["init"]["fingerprint"] == init
    )
