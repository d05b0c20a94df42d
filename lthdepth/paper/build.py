"""The pipeline: every notebook run in order by papermill, then one HTML site."""

import io
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr
from datetime import date
from pathlib import Path

import nbformat
import papermill

from ..errors import UserError
from . import apidocs, cost, pairs, provenance
from . import site as pages
from .study import Desk

ROOT = Path(__file__).parents[2]

# Quiet about talking over TCP, which stays on this machine, and about being stopped; and tqdm draws its bars as
# text, which a terminal can show, instead of as JupyterLab's widgets.
KERNEL = ["--log-level=50", "--IPKernelApp.exec_lines=import sys; sys.modules['tqdm.notebook'] = None"]


def build(profile, data=None, weights=None, device="auto", notebooks=None, out=None, quiet=False):
    """Run the paper's notebooks and render them.

    Args:
        profile: "quick" (a small experiment trained here) or "paper" (the recorded runs).
        data, weights, device: handed to the notebooks' parameters cell; a path is made absolute first.
        notebooks: folder of the pairs; `notebooks/` of the repository by default.
        out: folder for the executed `notebooks/` and the `html/`; `build/<profile>/` by default.
        quiet: print nothing but where the front page is.

    Returns:
        Path of the front page.

    Raises:
        UserError: a pair that disagrees, no notebooks, data or weights that are not there, or a `UserError` that a cell raised.
        papermill.PapermillExecutionError: any other error in a cell.
    """
    notebooks = Path(notebooks or ROOT / "notebooks").resolve()
    out = Path(out or ROOT / "build" / profile).resolve()
    if problems := pairs.check(notebooks):
        raise UserError(
            f"{problems[0]} The .py is the source: `python -m lthdepth pairs --write` makes the .ipynb anew from "
            "it (an edit made only in the .ipynb would be lost; saving it once in JupyterLab brings it over)."
        )
    sources = sorted(notebooks.glob("*.py"))
    if not sources:
        raise UserError(f"no notebooks in {notebooks}.")
    parameters = {
        "profile": profile,
        "device": device,
        "data": _absolute(data),
        "weights": _absolute(weights),
    }
    # Otherwise a kernel named python3 in a person's home would win over this environment's.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    # A day's training at ten progress messages a second would make an executed notebook of many megabytes.
    os.environ.setdefault("TQDM_MININTERVAL", "1")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    stream = io.StringIO() if quiet else sys.stdout
    made = (
        f"a small experiment, trained here on {_name(data)}"
        if profile == "quick"
        else "rendered from the recorded runs"
    )
    print(
        f"The {'quick ' * (profile == 'quick')}paper, {made}: {len(sources)} notebooks",
        file=stream,
        flush=True,
    )
    started = time.monotonic()
    with redirect_stderr(
        _Progress(stream, "frames")
    ):  # a mistake must cost nothing: the earlier build is still there
        ready = _ready(profile, data, weights, device)
    shutil.rmtree(out / "notebooks", ignore_errors=True)
    (out / "notebooks").mkdir(parents=True)

    def run(source):
        return _execute(
            source, out / "notebooks" / f"{source.stem}.ipynb", parameters, _Progress(stream, source.stem)
        )

    with chdir(ROOT), ThreadPoolExecutor(2) as pool:
        api = pool.submit(apidocs.render, out)
        each = pool.map if ready else map
        executed = dict(zip((s.stem for s in sources), each(run, sources), strict=True))
        api.result()
    quick = f"Quick build on {_name(data)}: a demonstration, not the paper’s result."
    shown = out / "figures" if profile == "quick" else ROOT / "figures"
    banner = " ".join([quick] * (profile == "quick") + [provenance.banner(shown)]).strip()
    footer = f"Built on {date.today():%-d %B %Y} from the {profile} profile."
    index = pages.render(
        executed, out / "html", images=notebooks, banner=banner, footer=footer, links=[apidocs.LINK]
    )
    shutil.move(out / "api", out / "html")
    print(f"  done in {_clock(time.monotonic() - started)}; read it at", end=" ", file=stream, flush=True)
    print(index.as_uri(), flush=True)
    return index


def _ready(profile, data, weights, device):
    """Whether all that the chapters show is there, so that two can run at a time.

    Else they run one by one: training takes every core, and a chapter shows what the ones before it trained.
    """
    desk = Desk(profile, data, weights, device)
    return desk.finished() and (profile == "paper" or cost.kept(desk) is not None)


def _execute(source, target, parameters, progress):
    """Run one notebook into `target`, which is kept as far as it got; returns the executed notebook."""
    nbformat.write(pairs.read(source), target)
    started = time.monotonic()
    try:
        notebook = papermill.execute_notebook(
            target,
            target,
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=KERNEL,
            stderr_file=progress,
        )
    except papermill.PapermillExecutionError as error:
        progress.end(f"failed after {_clock(time.monotonic() - started)}")
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        error.add_note(f"This happened in {source}; as far as it got, it is in {target}.")
        raise
    except BaseException:
        progress.end(f"stopped after {_clock(time.monotonic() - started)}")
        raise
    progress.end(_clock(time.monotonic() - started))
    return notebook


class _Progress:
    """Shows what cells write to stderr, most of all progress bars, and one line for each notebook.

    On a terminal the newest state of a bar replaces the one before. Anywhere else (a log file, CI) only lines
    that are complete are written.
    """

    def __init__(self, stream, name):
        self.stream, self.name, self.line, self.live = stream, name, "", stream.isatty()
        self._show(f"  {name} …")

    def write(self, text):
        self.line += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text.replace("\r\n", "\n"))
        *complete, self.line = self.line.split("\n")
        for line in complete:
            # A bar that clears itself at the end leaves blanks.
            if last := line.rpartition("\r")[2].rstrip():
                self._clear()
                self.stream.write(f"    {last}\n")
        self.line = self.line.rpartition("\r")[2] if len(self.line) > 4096 else self.line
        if newest := self.line.rpartition("\r")[2].strip():
            self._show(newest)
        self.flush()

    def flush(self):
        self.stream.flush()

    def end(self, words):
        self._clear()
        self.stream.write(f"  {self.name:<14} {words}\n")
        self.flush()

    def _clear(self):
        self.stream.write("\r\x1b[K" if self.live else "")

    def _show(self, text):
        if self.live:
            self._clear()
            self.stream.write(text[: shutil.get_terminal_size().columns - 1])
            self.flush()


def _absolute(source):
    """A path as absolute, since notebooks run elsewhere; a name such as "rooms" as it is."""
    return str(Path(source).resolve()) if source and Path(source).is_file() else source


def _name(data):
    return "built-in rooms" if data is None or str(data).startswith("rooms") else Path(data).name


def _clock(seconds):
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
