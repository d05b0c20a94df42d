"""A study's runs on several workers: what is missing, in which order, by when, and what to do when one fails."""

import time
import traceback
from dataclasses import dataclass, replace

from ..config import Config
from ..errors import UserError
from ..files import Busy
from ..training import arms
from ..training import logits as pretraining
from ..training.fit import Diverged, Stopped
from . import effort
from . import run as runs

ATTEMPTS = 3  # how often a run is begun whose worker dies


@dataclass(frozen=True)
class Job:
    """A run that is missing.

    needs: keys of the runs that must be finished before, whether they are or not; keep, snapshot: what later runs need
    of it, as `runs.run`; chain: folder of its rounds (arm logits), which the first of several makes for all; flops: what
    it costs; failed: why it cannot be made: it, or a run that it needs, diverged before.
    """

    key: str
    config: Config
    needs: tuple = ()
    keep: bool = False
    snapshot: int = 0
    chain: str = ""
    flops: float = 0.0
    failed: str = ""


def title(config):
    """A run in a few words, in columns."""
    return f"{config.arm:9} {100 * config.density:6.2f} %  seed {config.seed}"


def plan(configs, inputs, store):
    """What is missing of a study, each run after those whose weights it needs, otherwise in the order of the study.

    Rounds of iterative pruning that are no part of the study are jobs of their own. The arm logits makes its rounds in
    the first job that needs them; the deepest of them, so that the others find theirs.

    Returns:
        `[Job]`.
    """
    done, failed, jobs, first = store.records(), store.failed(), {}, {}

    def add(config, keep=False, snapshot=0):
        key = inputs.key(config)
        files = ["weights.pt"] * keep + [f"epoch-{snapshot}.pt"] * bool(snapshot)
        if key in done and all((store.local / key / file).exists() for file in files):
            return key
        if key in jobs:
            jobs[key] = replace(
                jobs[key], keep=keep or jobs[key].keep, snapshot=snapshot or jobs[key].snapshot
            )
            return key
        needs, folder = [], ""
        for role, before in arms.parents(config).items():
            needs.append(add(before, True, config.rewind if role == "origin" else 0))
        why = failed[key]["reason"] if key in failed else ""
        why = why or next(
            (f"it needs {name}, which failed" for name in needs if name in jobs and jobs[name].failed), ""
        )
        if config.arm == "logits":
            folder = pretraining.chain(config, inputs.initial(config), inputs.unlabelled(config))
            needs += [first[folder]] if first.setdefault(folder, key) != key else []
        work = effort.flops(config, inputs.frames)
        jobs[key] = Job(key, config, tuple(dict.fromkeys(needs)), keep, snapshot, folder, work, why)
        return key

    for config in configs:
        add(config)
    return list(jobs.values())


def attempt(job, inputs, store, device, study, seconds=None, every=0.0, progress=True, wait=False):
    """Make one run, whatever comes: `(outcome, record or words)`.

    Args:
        seconds: until the run must have stopped; None: never. The others: as `runs.run`.

    Returns:
        "finished" with the record; "failed" (it diverged), "busy" (another process makes it), "stopped" (the time was
        up), "refused" (a `UserError`) or "bug" with what was said.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    config = job.config
    try:
        initial, unlabelled = inputs.initial(config), inputs.unlabelled(config)
        options = {"keep": job.keep, "snapshot": job.snapshot, "unlabelled": unlabelled, "wait": wait}
        return "finished", runs.run(
            config, inputs.frames, initial, store, device, study, None, deadline, every, progress, **options
        )
    except Diverged as error:
        return "failed", str(error)
    except Busy as error:
        return "busy", str(error)
    except Stopped as error:
        return "stopped", str(error)
    except UserError as error:
        return "refused", str(error)
    except Exception:
        return "bug", traceback.format_exc()


class Drive:
    """Hands jobs to an engine's workers until all are made or the time is up.

    Args:
        jobs: of `plan`; engine: see `engines`; estimates: `effort.Estimates`.
        budget: seconds from now; None: as long as it takes.
        say: called with a sentence for every run that ends; board: called with the lines that show the state.

    Attributes:
        failed: `{key: why}` of runs that diverged or met a bug, and of those that need them; left: jobs not made.
    """

    def __init__(self, jobs, engine, estimates, budget=None, say=print, board=lambda lines: None):
        self.engine, self.estimates, self.say, self.board = engine, estimates, say, board
        self.end = None if budget is None else time.monotonic() + budget
        self.left, self.running, self.bugs = [job for job in jobs if not job.failed], {}, []
        self.failed = {job.key: job.failed for job in jobs if job.failed}
        self.total, self.made, self.attempts, self.busy, self.late = len(jobs), 0, {}, set(), False

    def run(self):
        """Raises UserError for a worker's; RuntimeError where workers met a bug, after all other runs."""
        for key, why in self.failed.items():
            self.say(f"{key}  failed before: {why}")
        try:
            while self._begin():
                self._show()
                for slot, outcome, value in self.engine.wait(self._until()):
                    self._note(slot, outcome, value)
                if self.end is not None and time.monotonic() > self.end and self.running:
                    self.say("the time is up; what is running continues from its last checkpoint next time")
                    break
        finally:
            self.engine.close()
            self.board([])
        if self.bugs:
            raise RuntimeError(f"{len(self.bugs)} runs met a bug; the first:\n{self.bugs[0]}")

    def _begin(self):
        """Give work to idle workers; whether any is at work then."""
        for slot in [] if self.late else sorted(set(range(self.engine.slots)) - set(self.running)):
            job = self._next()
            if job is None:
                break
            self.left.remove(job)
            self.running[slot] = (job, time.monotonic(), (0, job.config.epochs, None))
            self.engine.start(slot, job, self._seconds(), job.key in self.busy)
        return bool(self.running)

    def _next(self):
        waiting = {job.key for job in self.left} | {job.key for job, *_ in self.running.values()}
        ready = [job for job in self.left if not waiting & set(job.needs) and self._fits(job)]
        return min(ready, key=lambda job: job.key in self.busy, default=None)  # the first; busy ones last

    def _fits(self, job):
        """Whether at least an epoch of it is likely to end in time."""
        if self.end is None:
            return True
        seconds = self.estimates.seconds(job.config, job.flops) or 0
        return self._seconds() > seconds / job.config.epochs

    def _seconds(self):
        """Left for work: the end keeps a little for the last checkpoint and the scores."""
        if self.end is None:
            return None
        left = self.end - time.monotonic()
        return left - min(20, 0.1 * left)

    def _until(self):
        return 5.0 if self.end is None else max(0.05, min(5.0, self.end - time.monotonic()))

    def _note(self, slot, outcome, value):
        job, started, _ = self.running[slot]
        if outcome == "progress":
            self.running[slot] = (job, started, value)
            return
        del self.running[slot]
        match outcome:
            case "finished":
                self.made += 1
                self.estimates.add(value)
                self.say(value)
            case "failed" | "bug":
                self._lose(job, value.strip().splitlines()[-1])
                self.bugs += [value] * (outcome == "bug")
            case "refused":
                raise UserError(value)
            case "stopped" | "busy" if outcome == "stopped" or job.key in self.busy:
                self.say(f"{job.key}  {value}")
                self.left.insert(0, job)
                self.late = True
            case "busy":
                self.busy.add(job.key)
                self.left.append(job)
            case "died":
                self.attempts[job.key] = self.attempts.get(job.key, 1) + 1
                if self.attempts[job.key] > ATTEMPTS:
                    self._lose(job, f"its worker died {ATTEMPTS} times ({value})")
                else:
                    self.say(f"{job.key}  the worker died ({value}); the run continues on another")
                    self.left.insert(0, job)

    def _lose(self, job, why):
        """Give up a job and those that need it; not those of its chain, who make the rounds themselves."""
        self.failed[job.key] = why
        self.say(f"{job.key}  failed: {why}")
        for other in [
            j for j in self.left if job.key in j.needs and not (job.chain and job.chain == j.chain)
        ]:
            self.left.remove(other)
            self._lose(other, f"it needs {job.key}, which failed")

    def _show(self):
        now, lines = time.monotonic(), []
        for slot in range(self.engine.slots):
            job, started, (epoch, epochs, loss) = self.running.get(slot, (None, 0, (0, 0, None)))
            if job:
                shown = f"  epoch {epoch}/{epochs}, loss {loss:.3f}" if epoch else "  begins"
                lines.append(f"worker {slot + 1}: {title(job.config)}{shown}, {effort.clock(now - started)}")
            else:
                lines.append(f"worker {slot + 1}: idle")
        left = remaining(self.left, self.running.values(), self.estimates, self.engine.slots)
        lines.append(f"{self.made} of {self.total} runs made, time left: {effort.clock(left)}")
        self.board(lines)


def remaining(left, running, estimates, slots):
    """Seconds until all is made: the work over the workers, or the longest chain of runs that need each other.

    Args:
        left: jobs; running: `(job, time.monotonic() of its start, (epochs done, epochs, loss))` of those at work.

    Returns:
        Seconds, or None where nothing comparable is recorded yet.
    """
    ends, work = {}, 0.0
    for job, started, (epoch, epochs, _) in running:
        guess, past = estimates.seconds(job.config, job.flops), time.monotonic() - started
        if guess is None and not epoch:
            return None
        rest = past * (epochs - epoch) / epoch if epoch else max(0.0, guess - past)
        ends[job.key], work = rest, work + rest
    for job in left:
        guess = estimates.seconds(job.config, job.flops)
        if guess is None:
            return None
        ends[job.key] = guess + max((ends.get(name, 0.0) for name in job.needs), default=0.0)
        work += guess
    return max(work / slots, max(ends.values(), default=0.0))
