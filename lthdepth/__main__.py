"""Command line of lthdepth."""

import argparse
import importlib
import os
import signal
import sys

from . import __doc__ as about
from . import __version__, tasks
from .errors import UserError, reason

# Libraries that read environment variables when they are imported, and the beginnings of their names.
READERS = {"tqdm": "TQDM_", "matplotlib": "MPLBACKEND"}


def parser():
    """The command line: one subcommand a task."""
    top = argparse.ArgumentParser(prog="python -m lthdepth", description=about)
    top.add_argument("--version", action="version", version=f"lthdepth {__version__}")
    subparsers = top.add_subparsers(dest="task", required=True, metavar="TASK")
    for name in tasks.TASKS:
        task = importlib.import_module(f"{tasks.__name__}.{name}")
        raw = argparse.RawDescriptionHelpFormatter
        p = subparsers.add_parser(name, help=task.__doc__, description=task.__doc__, formatter_class=raw)
        p.set_defaults(run=task.run)
        task.arguments(p)
    return top


def check_environment():
    """Refuses environment variables that a library cannot read. Raises UserError."""
    for library, start in READERS.items():
        if names := sorted(name for name in os.environ if name.startswith(start)):
            try:
                importlib.import_module(library)
            except ValueError as error:
                raise UserError(
                    f"{library} cannot read {', '.join(names)} in the environment ({reason(error)}): unset it."
                ) from None


def main(words=None):
    """Run one task. Returns the exit status: 0, 2 for a person's mistake, 130 when interrupted."""
    top = parser()
    args, rest = top.parse_known_args(words)
    if rest:  # settings may stand on both sides of an option
        if not hasattr(args, "settings") or any(word.startswith("-") for word in rest):
            top.error(f"unrecognized arguments: {' '.join(rest)}")
        args.settings += rest
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        check_environment()
        args.run(args)
    except UserError as error:
        print(f"lthdepth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlthdepth: interrupted; the same command continues where this one stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
