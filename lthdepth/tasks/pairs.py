"""Check that every notebook's .py and .ipynb say the same."""

from ..errors import UserError


def arguments(p):
    p.add_argument("--write", action="store_true", help="write the .ipynb anew from the .py")


def run(args):
    from ..paper import pairs as paired
    from ..runs.run import ROOT

    folder = ROOT / "notebooks"
    if args.write:
        paired.write(folder)
    problems = paired.check(folder)
    if problems:
        raise UserError(
            "; ".join(problems) + "; `python -m lthdepth pairs --write` makes the .ipynb anew from the .py."
        )
    print("every notebook's .py and .ipynb say the same")
