"""The pipeline: pairs compared, what is missing trained, every notebook run by papermill, one HTML site.

A pair is `notebooks/NN_name.py` (percent format, the source) beside `NN_name.ipynb` (no outputs).
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr
from datetime import date
from pathlib import Path

import ipykernel.kernelspec  # noqa: F401  (what papermill imports late, and two threads at a time cannot)
import jupytext
import nbformat
import papermill
import torch
from jupytext.compare import compare_notebooks

from ..errors import UserError
from ..runs import run as runs
from ..runs import sweep
from . import figures, site, tables
from .study import Paper

# Constant, so that no machine's Python version or kernel name gets into a commit; without a kernel name
# JupyterLab would stop to ask for one.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Quiet about talking over TCP, which stays on this machine; and tqdm draws its bars as text for a terminal,
# not as JupyterLab's widgets.
KERNEL = ["--log-level=50", "--IPKernelApp.exec_lines=import sys; sys.modules['tqdm.notebook'] = None"]
CHAPTER = 2  # epochs of a quick run that running a notebook takes about as long as
LONGEST = 6 * 3600  # seconds that a cell may take: long runs are trained before the notebooks
BESIDE = ("recipe", "postmortem-small")  # studies that the paper shows beside its own
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("no-first-run", "disable-sync", "disable-background-networking", "disable-component-update")


def build(profile, data=None, weights=None, device="auto", quiet=False, notebooks=None):
    """Run the paper's notebooks and render them into `build/<profile>/`; returns the front page's path.

    Args:
        profile, data, weights, device: as `study.Paper`; the parameters of the notebooks.
        quiet: print nothing but where the front page is.
        notebooks: folder of the pairs; `notebooks/` of the repository by default, with `build/` beside it.

    Raises:
        UserError: a pair that disagrees, no such data or weights, a `UserError` of a cell, a lost kernel.
        papermill.PapermillExecutionError: any other error in a cell.
    """
    notebooks = Path(notebooks or runs.ROOT / "notebooks").resolve()
    sources, out = chapters(notebooks), notebooks.parent / "build" / profile
    if problems := differences(notebooks):
        raise UserError(problems[0])
    stream, started = io.StringIO() if quiet else sys.stdout, time.monotonic()
    with redirect_stderr(Progress(stream)):  # a mistake must cost nothing: the earlier build is still there
        paper = Paper(profile, data, weights, device)
    missing = _missing(paper)
    place = tables.DATA.get(paper.frames.name, paper.frames.name) if paper.frames else ""
    plan = f"{len(missing)} runs are trained on {place}" if missing else "nothing is trained"
    print(f"The {profile} paper: {plan}, {len(sources)} notebooks run, then the pages.", file=stream)
    paths = (str(Path(s).resolve()) if s and Path(s).is_file() else s for s in (data, weights))
    values = {"profile": profile, "device": device} | dict(zip(("data", "weights"), paths))
    progress = Progress(stream, missing, len(sources))
    if missing:
        train(paper, values, progress)
    executed = _execute_all(sources, out / "notebooks", values, progress)
    commit = figures.commit(runs.environment(paper.device))
    footer = f"Built on {date.today():%-d %B %Y} at commit {commit} from the {profile} profile."
    index = site.render(executed, out / "html", figures.folder(paper), banner(paper, place), footer)
    print(f"  done in {(time.monotonic() - started) / 60:.1f} min; read it at", end=" ", file=stream)
    print(index.as_uri(), flush=True)
    return index


def chapters(folder, suffix=".py"):
    """The files `NN_name` of a folder in their order; `Untitled.ipynb` and copies are nobody's chapter."""
    return sorted(p for p in Path(folder).glob(f"*{suffix}") if re.fullmatch(r"\d\d_\w+", p.stem))


def read(source):
    """The notebook that a percent-format file stands for, without outputs.

    Its cell ids depend on the cells' text alone, so that an edit changes one cell of the `.ipynb` only.
    """
    notebook, seen = jupytext.read(source, fmt="py:percent"), []
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        cell.id = f"{digest}-{seen.count(digest) + 1}" if digest in seen else digest
        seen.append(digest)
        cell.metadata = nbformat.from_dict({"tags": tags} if (tags := cell.metadata.get("tags")) else {})
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def differences(folder):
    """A sentence for each pair of a folder that disagrees or lacks a half; outputs are no difference."""
    problems, write = [], "`python -m lthdepth pairs --write` makes the .ipynb anew from the .py, the source"
    for stem in sorted({path.stem for kind in (".py", ".ipynb") for path in chapters(folder, kind)}):
        try:
            theirs = nbformat.read(Path(folder, f"{stem}.ipynb"), as_version=4)
            theirs.metadata = nbformat.from_dict(METADATA)
            ours = read(Path(folder, f"{stem}.py"))
            compare_notebooks(theirs, ours, "py:percent", raise_on_first_difference=False)
        except Exception as error:  # a difference, a missing half, or what parsers make of a half-merged one
            problems.append(f"{stem}.py and {stem}.ipynb differ: {error}; {write}.")
    return problems


def write_pairs(folder):
    """Make every `.ipynb` of a folder anew from its `.py`, without outputs."""
    for source in chapters(folder):
        source.with_suffix(".ipynb").write_text(nbformat.writes(read(source)) + "\n", encoding="utf-8")


def to_pdf(index):
    """Print the whole site with Chromium or Chrome into `paper.pdf` beside its front page, which is returned.

    Raises UserError: there is no such browser here, or it fails.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not program:
        raise UserError("a PDF needs Chromium or Chrome, which is not here; install one, or print by hand.")
    page, target = index.with_name("paper.html"), index.with_name("paper.pdf")
    target.unlink(missing_ok=True)
    page.write_text(site.whole(index.parent), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        options = ["headless", "no-sandbox", "disable-gpu", *QUIET, f"user-data-dir={folder}"]
        options += ["no-pdf-header-footer", f"print-to-pdf={target}"]
        command = [program, *(f"--{o}" for o in options), page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    page.unlink()
    if not target.exists():
        raise UserError(f"{program} made no PDF: {done.stderr[-300:].strip()}")
    return target


def banner(paper, place):
    """What stands at the top of every page, where not all of it is from the paper's own records; or ""."""
    if paper.profile == "quick":
        return f"Quick build on {place}: a demonstration, not the paper’s result."
    if not paper.live:
        return ""
    given, known = (paper.frames.fingerprint, paper.initial.fingerprint), ("", "")
    others = [name for name in BESIDE if paper.basis(name)[:2] not in (given, known)]
    made = f"Of the given data and weights are only this study’s runs. Not of them: {' and '.join(others)}"
    return f"{made}. Below each figure stands what it was made on." if others else ""


def _missing(paper):
    """What is still to train here: `{file that a run leaves when it is done: its epochs}`."""
    if not paper.live:
        return {}
    todo = {paper.inputs.key(c): c for c in sweep.missing(paper.study.configs, paper.inputs, paper.store)}
    return {paper.store.local / key / "record.json": c.epochs * (c.arm != "floor") for key, c in todo.items()}


def train(paper, values, progress):
    """Make the runs that are missing, before the notebooks ask for them, by the sweep of the command line.

    On a CPU small networks gain little from a second thread, so that a quick build trains two at a time. What
    fails here fails once more in a notebook, which says why. values: parameters of the notebooks.
    """
    two = paper.profile == "quick" and paper.device.type == "cpu" and torch.get_num_threads() > 1
    command = [sys.executable, "-P", "-m", "lthdepth", "sweep", paper.profile, "--jobs", str(1 + two)]
    command += ["--data", values["data"] or "rooms", "--device", values["device"]]
    command += ["--weights", values["weights"]] if values["weights"] else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            while text := process.stdout.read1():
                progress.write(text.decode(errors="replace"))
        finally:
            process.terminate()


def _execute_all(sources, folder, values, progress):
    """Run the notebooks into a folder, emptied first, two at a time; `{name: executed notebook}`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def execute(source):
        return _execute(source, folder / f"{source.stem}.ipynb", values, progress)

    with tempfile.TemporaryDirectory() as own, chdir(runs.ROOT), ThreadPoolExecutor(2) as pool:
        os.environ |= {"JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": own}
        os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
        os.environ.setdefault("TQDM_MININTERVAL", "1")  # a day's bars would make a notebook of many megabytes
        # The last takes times in a quick build, and must be alone.
        done = [*pool.map(execute, sources[:-1]), execute(sources[-1])]
    return {source.stem: notebook for source, notebook in zip(sources, done, strict=True)}


def _execute(source, target, parameters, progress):
    """Run one notebook into `target`, which is kept as far as it got; returns the executed notebook.

    Cells tagged "remove-cell" are for JupyterLab: their widgets are not seen on a page, and here, where no
    browser answers them, ipykernel 7 may lose the next cell behind them and wait for ever.
    """
    notebook, started = read(source), time.monotonic()
    notebook.cells = [c for c in notebook.cells if "remove-cell" not in c.metadata.get("tags", ())]
    nbformat.write(notebook, target)
    how = {"kernel_name": "python3", "progress_bar": False, "extra_arguments": KERNEL}
    how |= {"stderr_file": progress, "start_timeout": 600, "iopub_timeout": 600}  # of a busy machine
    try:
        return papermill.execute_notebook(target, target, parameters, execution_timeout=LONGEST, **how)
    except papermill.PapermillExecutionError as error:
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        error.add_note(f"This happened in {source}; as far as it got, it is in {target}.")
        raise
    except (RuntimeError, TimeoutError) as error:  # what nbclient makes of a kernel that is gone, or late
        why = f"the kernel of {source.name} died, most often for lack of memory, or a cell took too long"
        how = f"({str(error).splitlines()[0].rstrip('.')}); {target} is how far it got"
        raise UserError(f"{why} {how}. Start again: finished runs are kept.") from None
    finally:
        progress.end(f"{source.stem:<14} {(time.monotonic() - started) / 60:.1f} min")


class Progress:
    """Where a build stands: a file for what cells and the sweep write, most of all progress bars.

    On a terminal one line changes: which run of how many, the time left by the speed so far, the newest bar.
    Anywhere else (a log, CI) only lines that are complete are written, and where it stands after each run.
    missing: as `_missing`; chapters: number of notebooks to run.
    """

    def __init__(self, stream, missing=None, chapters=0):
        self.stream, self.missing, self.chapters = stream, missing or {}, chapters
        self.ended, self.line, self.started, self.last = 0, "", time.monotonic(), 0

    def write(self, text):
        text = self.line + re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text.replace("\r\n", "\n"))
        *complete, self.line = [line.rpartition("\r")[2] for line in text.split("\n")]
        for line in filter(str.strip, complete):  # a bar that clears itself at the end leaves blanks
            self._put(f"    {line.rstrip()}\n")
        done = sum(file.exists() for file in self.missing)
        if self.stream.isatty():
            self._put(f"  {self.where()}  {self.line.strip()}"[: shutil.get_terminal_size().columns - 1])
        elif done > self.last:
            self._put(f"    {self.where()}\n")
        self.last = done

    def flush(self):
        self.stream.flush()

    def end(self, words):
        self.ended += 1
        self._put(f"  {words}   {self.where() if self.ended < self.chapters else ''}".rstrip() + "\n")

    def where(self):
        """Such as "run 3 of 11, about 2 min left"; the time once something is done."""
        done = [epochs for file, epochs in self.missing.items() if file.exists()]
        total, work = sum(self.missing.values()) + CHAPTER * self.chapters, sum(done) + CHAPTER * self.ended
        said = f"notebook {self.ended + 1} of {self.chapters}" if self.chapters else ""
        if len(done) < len(self.missing):
            said, bars = f"run {len(done) + 1} of {len(self.missing)}", re.findall(r"(\d+)%\|", self.line)
            work += int([0, *bars][-1]) / 100 * total / (len(self.missing) + self.chapters)
        if not work:
            return said
        minutes = (time.monotonic() - self.started) * max(0, total - work) / work / 60
        return f"{said}, about {minutes:.0f} min left" if minutes > 1.5 else f"{said}, about a minute left"

    def _put(self, text):
        self.stream.write(f"\r\x1b[K{text}" if self.stream.isatty() else text)
        self.stream.flush()
