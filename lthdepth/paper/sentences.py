"""What the paper says of its records: sentences, in Markdown."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd

from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.postmortem import relative
from ..analysis.verdict import CURVE, apart, conclude
from ..config import ARMS, level
from ..runs import studies
from ..runs.record import label
from . import plots, tables

ENDS = level(3), plan.LEVEL  # of the curve, where longer training is looked at in the abstract


def abstract(paper):
    """The finding and its numbers; of a quick build, what it would say."""
    keys = " ".join(r["key"] for r in paper.shown if r)
    answer, *rest = finding(paper)
    answer = f'<span data-runs="{keys}">{answer}</span>'
    if paper.profile == "quick":
        data = tables.DATA.get(paper.frames.name, paper.frames.name)
        return (
            f"This is a quick build on {data}, trained just now: a demonstration, which says nothing about "
            f"the question. What it would say of these few runs: {answer}"
        )
    return "\n\n".join([answer, *rest])


def finding(paper):
    """The paragraphs of the finding: question 1, the sparsest ticket, what IMP's earlier rounds show."""
    said = paper.verdict.break_even(), f"{_smallest(paper)} {closing(paper)}".strip(), rounds(paper)
    return [paragraph for paragraph in said if paragraph]


def _smallest(paper):
    """What IMP's ticket of 1.80 %, or else the best one, loses."""
    analysis = paper.verdict.main
    best = analysis.best(plan.LEVEL)
    row = analysis.row(plan.PRIMARY, plan.LEVEL) or best
    if row is None or not analysis.passed:
        return ""
    name = "iterative magnitude pruning (IMP)" if row.arm == "imp" else ARMS[row.arm]
    pairs = plan.difference(row).partition(" m from dense")[2]
    image = analysis.protocols.set_index(["arm", "density"])["full frame, per image"][row.arm, row.density]
    outcome = conclude(analysis, row) if row.arm == plan.PRIMARY and row.n >= plan.SEEDS else ""
    said = (
        f"A ticket of {100 * plan.LEVEL:.2f} %, by {name}, loses {row.difference:.3f} m of rms{pairs} "
        f"Averaged per image instead of pooled it loses {image:.3f} m."
    )
    if outcome:
        said += f" By the plan: {outcome[0].lower()}{outcome[1:]} {apart(row)}".rstrip()
    if best.arm != row.arm:
        said += f" The best so far, {ARMS[best.arm]}, loses {best.difference:.3f} m ({_pairs([best])})."
    below = 100 * (1 - analysis.dense / analysis.floor)
    return (
        f"{said} The dense network's rms is {analysis.dense:.3f} m, {below:.0f} % below the mean depth map, "
        "which sees no photo."
    )


def size(paper):
    """Input size and test frames, for a caption."""
    r = next((r for r in paper.main if r["arm"] != "floor"), None)
    return f"{r['config']['height']}×{r['config']['width']}; {tables.protocol(paper.main)}" if r else ""


def verdict(paper):
    """Both answers, a paragraph each, and what they rest on."""
    study, records = paper.study.name, paper.shown
    answers = paper.verdict.sentence() if paper.profile == "paper" else abstract(paper)
    return f"{answers}\n\n{progress(study, records, paper.verdict.failed)} {basis(paper, study, records)}"


def progress(name, records, lost=0):
    """How much of a study is recorded, what of it has no result, and whether IMP is shortened."""
    planned, done = studies.study(name), sum(map(bool, records))
    said = f"**{planned.title}**: {done} of {len(records)} runs recorded."
    if lost:
        said += f" {lost} diverged or follow from one that did, and have no result."
    if short := next((c for c in planned.configs if c.arm == "imp" and c.round_epochs), None):
        early = f"{short.round_epochs} of {short.epochs} epochs"
        said += f" IMP is shortened: all rounds but its last take {early}."
    return said


def basis(paper, name, records):
    """On what data and from what weights a study's runs were made; "" where there is none."""
    r = next((r for r in records if r and r["arm"] != "floor"), None)
    if r is None:
        return ""
    init, data = r["init"], tables.DATA.get(r["data"]["name"], r["data"]["name"])
    others = paper.basis(name)[2] if paper.profile == "paper" else 0
    return (
        f"Made on {data} (fingerprint {r['data']['fingerprint']}). Initial weights: {init['description']} "
        f"({init['name']}, fingerprint {init['fingerprint']})."
        + (f" Left out: {others} of its runs on other data or weights." if others else "")
    )


def budget(paper):
    """The main budget in words."""
    return f"main budget of {paper.verdict.main.epochs} epochs"


def _pairs(rows):
    """How many pairs stand behind some rows, each."""
    numbers = sorted({r.n for r in rows})
    return "one pair" if numbers == [1] else f"{' or '.join(map(str, numbers))} pairs"


def ways(paper):
    """What every way of drawing the sparsest ticket loses, from the least; "" for fewer than two."""
    analysis = paper.verdict.main
    rows = list(analysis.at(plan.LEVEL).itertuples()) if analysis.passed else []
    losses = pd.DataFrame({ARMS[r.arm]: r.seeds for r in rows}).dropna()  # of the seeds that all ways have
    if len(rows) < 2 or losses.empty:
        return ""
    lost = ", ".join(f"{name} {loss:.3f} m" for name, loss in losses.mean().sort_values().items())
    seeds = f"seed{'s' * (len(losses) > 1)} {', '.join(map(str, losses.index))}"
    return (
        f"At {100 * plan.LEVEL:.2f} % of the weights, {seeds}, from the least lost: {lost}; the mean depth "
        f"map would lose {analysis.floor - analysis.dense:.3f} m. Other seeds may rank them otherwise."
    )


def outliers(paper):
    """In which networks a few frames carry much more of the squared error than in dense ones; "" for none."""
    done = [r for r in [*paper.shown, *paper.rounds] if r and r["arm"] != "floor"]
    shares = [100 * plan.tail(paper.store.arrays(r["key"])["test/full"]) for r in done]
    usual = np.mean([share for r, share in zip(done, shares) if r["arm"] == "dense"] or np.inf)
    odd = [(r, share) for r, share in zip(done, shares) if share > 2 * usual]
    named = [f"{label(r)}, seed {r['seed']}, {r['config']['epochs']} epochs, {s:.0f} %" for r, s in odd]
    said = f"In {len(odd)} of {len(done)} networks the worst 1 % of the test frames carry more than twice "
    said += f"the share of the squared error that they carry in dense ones ({usual:.0f} % on average): "
    return f"{said}{'; '.join(named)}." if odd else ""


def closing(paper):
    """What longer training makes of the loss of half the weights and of the sparsest one-shot ticket; ""
    where one budget has them.
    """
    rows = [r for r in paper.verdict.closing.itertuples() if r.density in ENDS]
    if not rows:
        return ""
    first, *_, last = paper.verdict.budgets
    losses = [f"{100 * r.density:#.3g} % loses {r.last:.3f} m instead of {r.first:.3f} m" for r in rows]
    return (
        f"Trained for {last} epochs instead of {first}, beside dense networks trained as long, the one-shot "
        f"ticket of {', that of '.join(losses)} ({_pairs(rows)} each)."
    )


def rounds(paper):
    """How tickets of IMP's earlier rounds do, beside one-shot magnitude of the same seeds; "" for none."""
    found = [r for r in paper.rounds if r["arm"] == "imp"]
    epochs = min((r["config"]["epochs"] for r in found), default=0)
    one = next((r for r in paper.verdict.movement.itertuples() if r.epochs == epochs), None)
    tickets = paper.verdict.budgets[epochs].tickets.itertuples() if one else ()
    losses = pd.DataFrame({t.density: t.seeds for t in tickets if t.arm == "imp"}).dropna()
    if losses.empty:  # no seed has every level
        return ""
    levels = SimpleNamespace(largest=max(losses), smallest=min(losses))
    ours = [plan.density(levels, stats.crossing(list(losses), row)) for row in losses.to_numpy()]
    theirs = [plan.density(one, one.by_seed[seed]) for seed in losses.index if seed in one.by_seed]
    text = (
        "Not asked by the plan, but recorded on the way: tickets found on the task, in IMP's earlier rounds "
        f"of {epochs} epochs each, break even with a dense network of {epochs} epochs at {', '.join(ours)} "
        f"of the weights (seeds {', '.join(map(str, losses.index))}; one-shot there: {', '.join(theirs)}), "
        "at the cost of the rounds before."
    )
    if better := [f"{100 * k:.3g} %" for k in losses if (losses[k] < 0).all()]:
        text += f" At {' and '.join(better)} they do better than it, with every seed."
    dense = {(r["seed"], r["config"]["epochs"]): r for r in paper.shown if r and r["arm"] == "dense"}
    for r, o in ((r, o) for r in found for o in paper.shown if o and o["arm"] == CURVE):
        cost, alone = (plan.images(run.config, o["fit_frames"]) for run in (r, o))
        if (r["density"], r["seed"], cost) == (o["density"], o["seed"], alone):
            beside = dense[o["seed"], o["config"]["epochs"]]
            ours, theirs, whole = (run["test"]["full"]["pooled"]["rms"] for run in (r, o, beside))
            text += (
                f" At equal cost, {o['config']['epochs']} epochs in all, IMP's rms at "
                f"{100 * r['density']:.1f} % is {ours:.3f} m, one-shot's {theirs:.3f} m and the dense "
                f"network's {whole:.3f} m (seed {r['seed']})."
            )
    return text


def left(paper):
    """What of the plan is not recorded, in one sentence; nothing where all is."""
    if paper.profile == "quick":
        return "The runs of this build are too few and too small for any conclusion."
    grids = {"paper": "plan", "postmortem": "post-mortem", "full": "grid at the published size"}
    every = {of: paper.records(name) for name, of in grids.items()}
    parts = [f"{r.count(None)} of the {len(r)} runs of the {of}" for of, r in every.items() if None in r]
    return f"Not recorded yet: {'; '.join(parts)}." if parts else ""


def against_floor(floor):
    """What the published rows say against their floor, `Paper.published_floor`."""
    if not floor:
        return ""
    texts = []
    for name, scores in tables.published_scores().items():
        changes = relative(scores, floor["test"]["full"]["pooled"])
        signed = ", ".join(f"{plots.PANELS[k]} {100 * (v - 1):+.1f} %" for k, v in changes.items())
        texts.append(f"the {name.removeprefix('published, ')} network has {signed}".replace("-", "−"))
    return (
        f"Against the mean depth map, pooled over the same pixels, {'; '.join(texts)}. Negative is better "
        "than a prediction that never looks at the picture."
    )


def training_images(verdict, floor):
    """What the study under test could and could not have seen with its training images, beside ours.

    Args:
        verdict: the `Verdict` of a study with several budgets; floor: `Paper.published_floor`, or None.
    """
    theirs, fewer, text = 10 * 24 * 50, [], ""
    batch, batches = studies.SIZE["batch"], 795 // studies.SIZE["batch"]  # the rest of an epoch is left out
    for epochs, a in verdict.budgets.items():
        images, row = epochs * batches * batch, a.row(CURVE, plan.LEVEL)
        if a.passed and row:
            text += (
                f"- {images:,} images, {epochs} epochs of {batches} batches of {batch}: dense rms "
                f"{a.dense:.3f} m, {100 * (1 - a.dense / a.floor):.0f} % below the mean depth map's "
                f"{a.floor:.3f} m; the one-shot ticket of {100 * plan.LEVEL:.2f} % loses "
                f"{row.difference:.3f} m ({_pairs([row])}).\n"
            )
            fewer += [loss for loss in row.seeds if images < theirs]
    if (least := min(fewer, default=0)) > stats.MARGIN:
        text += (
            "\nSo fewer images than theirs, in a sound training, take a network well below the floor, and "
            f"there the loss shows in a single pair: the smallest, {least:.3f} m, is "
            f"{least / stats.MARGIN:.0f} times the margin of {stats.MARGIN:.3f} m."
        )
    if floor:
        dense, sparse = (scores["rms"] for scores in tables.published_scores().values())
        mean = floor["test"]["full"]["pooled"]["rms"]
        text += (
            f"\n\nTheir pair could not show it, whatever the ticket. Their dense network, {dense:.3f} m, had "
            f"at most {max(0, mean - dense):.3f} m to lose before the mean depth map, {mean:.3f} m, does as "
            f"well; the {sparse - dense:.3f} m that they print between dense and sparse lie beyond it, in "
            "one run each on 50 frames."
        )
    return text


def readme(paper):
    """The README's texts by their marks: the finding with its figure, and the front page's table."""
    table = tables.front(paper, paper.published_floor)
    return {
        "finding": "\n\n".join(finding(paper)),
        "results": f"{progress(paper.study.name, paper.shown)}\n\n{tables.markdown(table)}",
    }


def refresh(readme, text, mark="results"):
    """A README with `text` between its marks `<!-- results -->` and `<!-- /results -->`."""
    return re.sub(
        rf"(<!-- {mark} -->\n).*?(\n<!-- /{mark} -->)", lambda m: m[1] + text + m[2], readme, flags=re.DOTALL
    )


def unmarked(text):
    """Markdown of one sentence or more without its marks, for a terminal."""
    return re.sub(r"<[^>]*>|\*+", "", text)
