"""The paper as its notebooks see it: the records of a profile, and the study they stand for."""

from collections import Counter
from functools import cached_property

from ..analysis import verdict
from ..analysis.budget import of_budget
from ..config import ARMS
from ..data import frames as data_sets
from ..data import nyu as data
from ..errors import UserError, warn
from ..runs import run as runs
from ..runs import studies
from ..runs.sweep import gathered
from ..training import arms
from ..training.fit import Diverged, pick_device
from . import figures

PROFILES = ("quick", "paper")
CHECKPOINT = 60.0  # least seconds between two checkpoints: shorter epochs are quicker trained than written


class Paper:
    """Where a notebook asks for records: the data, weights, device and store of one profile.

    Args:
        profile: "quick" (small, trained here, by default on built-in rooms without pre-training) or "paper"
            (looked up in the records; what is missing is trained only where data are given).
        data_source, weights_source: as `nyu.load` and `weights.load`; device: "auto", "cpu", "cuda".

    Attributes:
        inputs: `runs.Inputs`; frames, initial: of them; None where a paper build has no data.
        study: the `studies.Study` that the profile trains or looks up.

    Raises:
        UserError: an unknown profile, or data or weights that cannot be read.
    """

    def __init__(self, profile, data_source=None, weights_source=None, device="auto", store=None):
        if profile not in PROFILES:
            raise UserError(f"unknown profile {profile!r}; say {' or '.join(PROFILES)}.")
        figures.style()
        self.profile, self.device, self.store = profile, pick_device(device), store or runs.Store()
        self.live = profile == "quick" or data_source is not None
        if weights_source and not self.live:
            raise UserError(
                "weights without data train nothing; give --data too, or neither to use the recorded runs."
            )
        self.inputs, self.study, self.frames, self.initial = None, studies.study(profile), None, None
        if self.live:
            self.inputs, self.study = gathered(profile, data_source or "rooms", weights_source)
            self.frames, self.initial = self.inputs.frames, self.inputs.initial

    def record(self, config):
        """The record of a configuration; None where it is missing and cannot be trained here, or diverged."""
        if not self.live:
            return self.find(config)
        options = runs.Options(device=self.device, every=CHECKPOINT)
        try:
            return runs.run(config, self.inputs, self.store, options, study=self.study.name)
        except Diverged as error:  # no result, and no reason to lose the others
            warn(error)
            return None

    def records(self, name=None):
        """Records of a study in its order, None for a missing one; a study that is not the profile's own is
        only looked up.
        """
        if name in (None, self.study.name):
            return [self.record(config) for config in self.study.configs]
        return [self.find(config, name) for config in studies.study(name).configs]

    def find(self, config, name=None):
        """The recorded run of a configuration on the data and weights of a study (default: the profile's),
        or None.
        """
        return self._finished.get(runs.key(config, *self.basis(name or self.study.name)[:2]))

    def postmortem(self, name="postmortem"):
        """`[(row, record, record of its floor)]`, None for what is not run; a quick profile trains a run of
        its own, all defects together, beside its dense one.
        """
        if self.profile == "quick" and name == "postmortem":
            dense = next(c for c in self.study.configs if c.arm == "dense")
            short = studies.together(dense).replace(batch=16, epochs=3)  # about the steps of 10 epochs of 50
            rows, get = [(studies.SOUND, dense), (studies.TOGETHER, short)], self.record
        else:
            rows, get = studies.postmortem(name), self.find
        return [(row, get(config), get(config.floor())) for row, config in rows]

    @cached_property
    def published_floor(self):
        """The record of the mean depth map scored as the paper under test scored its networks, or None."""
        return self.find(studies.PUBLISHED_FLOOR)

    def lost(self, name):
        """The planned runs of a study that diverged, or whose ticket follows from a run that did: a record of
        each, with the status "failed" and without scores.
        """
        study, marks, lost = studies.study(name), self.basis(name)[:2], []
        if self.live and name == self.study.name:
            study, marks = self.study, (self.frames.fingerprint, self.initial.fingerprint)
        failed = {r.config: r for r in self._failed.values() if _made_of(r) == marks}
        for config in study.configs:
            if first := next((c for c in arms.lineage(config) if c in failed), None):
                its = {"arm": config.arm, "density": config.density, "seed": config.seed, "test": None}
                its |= {"config": failed[first]["config"] | {"epochs": config.epochs}}
                lost.append(failed[first] | its | {"key": runs.key(config, *marks)})
        return lost

    def basis(self, name):
        """The data and weights most of a study's runs were made on, or, where it has none, most runs of all.

        A run's key depends on both, and a replicator has others than the committed records.

        Returns:
            `(data, init, others)`: fingerprints, "" where nothing is recorded; number of the study's runs
            with others.
        """
        made = (self._finished | self._failed).values()
        trained = [r for r in made if r["arm"] != "floor" and r["study"] not in ("quick", "own")]
        own = [r for r in trained if r["study"] == name]
        sets = Counter(map(_made_of, own or trained))
        chosen, most = max(sets.items(), key=lambda pair: pair[1], default=(("", ""), 0))
        return *chosen, len(own) - most if own else 0

    @cached_property
    def _finished(self):
        return self.store.records()

    @cached_property
    def _failed(self):
        return self.store.failed()

    @cached_property
    def shown(self):
        """The records of the paper's study by arm, density and seed; None, at the end, for a missing one."""
        records, order = self.records(), list(ARMS)
        done = sorted(filter(None, records), key=lambda r: (order.index(r["arm"]), -r["density"], r["seed"]))
        return done + [None] * (len(records) - len(done))

    @cached_property
    def verdict(self):
        """The `verdict.Verdict` of the paper's study."""
        return self.analyse(self.study.name, [*self.shown, *self.rounds])

    @property
    def rounds(self):
        """Those of `earlier` that start from the pre-trained weights, and so are of a budget of the study."""
        return [r for r in self.earlier if r["arm"] != "lrr"]

    @cached_property
    def earlier(self):
        """Recorded earlier rounds of the study's tickets, no runs of its grid."""
        planned = self.study.configs
        budgets = {c.epochs for c in planned if c.arm == "dense"}
        behind = dict.fromkeys(c for p in planned for c in arms.lineage(p) if c.epochs in budgets)
        return [r for c in behind if c not in planned and (r := self.find(c))]

    def at(self, epochs):
        """The records of a budget, the floor's first, those of `rounds` last."""
        return of_budget([*self.shown, *self.rounds], epochs)

    @property
    def main(self):
        """The records of the paper's study at its main budget."""
        return self.at(self.verdict.main.epochs)

    def analyse(self, name, records):
        """The `verdict.Verdict` of a study's records, those that are `lost` in the places of missing ones."""
        done = [r for r in records if r]
        failed = [r for r in self.lost(name) if r["key"] not in {d["key"] for d in done}]
        main = studies.MAIN if name == "paper" else None
        return verdict.analyse(name, [*done, *failed], self.store.arrays, self.scenes(done), main)

    def scenes(self, records):
        """Scene of every frame of the data set behind some records, by index; None where it is not known."""
        used = {r["data"]["fingerprint"] for r in records}
        if self.frames is not None and used == {self.frames.fingerprint}:
            return self.frames.scene
        nyu = self.profile == "paper" and used == {self.summary.description["fingerprint"]}
        return data.nyu_table()[1] if nyu else None

    @cached_property
    def summary(self):
        """The `frames.Summary` of the data: of the frames at hand, or of the recorded NYU Depth V2."""
        if self.profile == "quick":
            return data_sets.summarise(self.frames)
        recorded = data_sets.load_summary(self.store.recorded / "nyu_summary.h5")
        same = self.frames is None or self.frames.fingerprint == recorded.description["fingerprint"]
        return recorded if same else data_sets.summarise(self.frames)

    def predictions(self, records):
        """Depth maps of the gallery by column title `{label: (8, h, w)}`, of the first record that has them
        for these frames.
        """
        predictions = {}
        for r in records:
            if r and r["data"]["name"] == self.summary.description["name"]:
                maps = self.store.arrays(r["key"]).get("gallery")
                if maps is not None:
                    predictions.setdefault(runs.label(r), maps)
        return predictions


def _made_of(record):
    """Fingerprints of the data and weights that a run was made on."""
    return record["data"]["fingerprint"], record["init"]["fingerprint"]
