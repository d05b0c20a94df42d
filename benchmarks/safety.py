"""Bring the tables of SAFETY.md up to date with the kept CSV files: `python benchmarks/safety.py`."""

import csv
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lthdepth.paper.tables import refresh

HERE = Path(__file__).parent
PAGE = HERE.parent / "SAFETY.md"
ATTACKS = ("command", "4 GiB", "10^12", "terabytes", "2^60", "another file", "brackets")


def rows(name):
    with open(HERE / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(head, body):
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def render():
    """The tables as Markdown: trials survived, inputs tried, files refused, guards."""
    kills, inputs, fuzz, guards = (
        rows("kill.csv"),
        rows("bad_inputs.csv"),
        rows("fuzz.csv"),
        rows("guards.csv"),
    )
    total = {k: sum(int(r[k]) for r in kills) for k in kills[0] if k != "work"}
    trials = table(list(kills[0]), [*(r.values() for r in kills), ["**all**", *total.values()]])
    tried = Counter(r["entrance"] for r in inputs)
    refused = Counter(r["entrance"] for r in inputs if r["exit status"] == "2")
    tries = table(
        ["entrance", "inputs", "one sentence, status 2"],
        [*([e, n, refused[e]] for e, n in tried.items()), ["**all**", len(inputs), sum(refused.values())]],
    )
    sums = [sum(int(r[k]) for r in fuzz) for k in list(fuzz[0])[1:]]
    fuzzed = table(list(fuzz[0]), [*(r.values() for r in fuzz), ["**all**", *sums]])
    attacks = [r for r in inputs if any(word in r["input"] for word in ATTACKS)]
    files = table(["entrance", "file", "answer"], [(r["entrance"], r["input"], r["answer"]) for r in attacks])
    traps = table(list(guards[0]), [r.values() for r in guards])
    return (
        f"### Trials survived\n\n{total['identical']} of {total['trials']} trials, {total['kills']} kills "
        f"(`python benchmarks/kill.py --trials 100 --seed 1`; builds in two halves, `--kind build --trials 5`, seeds 1 and 2; "
        "training and sweeps at commit 82c2a80, builds at 3a5b768). "
        f"The middle columns count kills by what was being done or written.\n\n{trials}\n\n"
        f"### Inputs tried\n\n`python tests/bad_inputs.py` writes every input with its answer to `benchmarks/bad_inputs.csv`.\n\n{tries}\n\n"
        f"### Files damaged\n\nWhole files cut, with bits flipped or stretches overwritten, and files with wrong parts, drawn at random "
        f"(`python tests/fuzz.py 300`). There was no third answer.\n\n{fuzzed}\n\n"
        f"### Files refused\n\nThose of the inputs that attack: commands in pickles, claims of memory, links out of the file.\n\n{files}\n\n"
        f"### Guards\n\nEach was taken out and its test seen to fail (`python benchmarks/guards.py`).\n\n{traps}"
    )


if __name__ == "__main__":
    PAGE.write_text(refresh(PAGE.read_text(), render()))
    print(f"{PAGE.name} is up to date")
