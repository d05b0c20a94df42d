"""What is a person's to fix, told in a sentence."""

import sys


class UserError(Exception):
    """A person's mistake or a bad file.

    Its message is one sentence that says what is wrong, where, and what to do. The command line prints it and
    exits with status 2, without a traceback; every other exception is a bug and keeps its traceback.
    """

    def _render_traceback_(self):
        """What a notebook shows (a hook of IPython): the sentence alone."""
        return [f"lthdepth: {self}"]


def reason(error):
    """What a library's exception says, fit for a sentence: its first line, shortened, or its kind."""
    said = (str(error).strip().splitlines() or [""])[0][:160]
    return said if " " in said else f"{type(error).__name__} {said}".strip()


def warn(sentence):
    """Say on stderr what a person should know although the work goes on."""
    print(f"\rlthdepth: {sentence}", file=sys.stderr, flush=True)
