"""What the paper says of its records: sentences, in Markdown."""

import re

from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.postmortem import relative
from ..analysis.verdict import CURVE
from ..config import ARMS, level
from ..runs.record import label
from ..runs.studies import study
from . import plots, tables

ENDS = level(3), plan.LEVEL  # of the curve, where longer training is looked at in the abstract
UNDER_TEST = "https://hajekel.github.io/CV_LTH_pre-training_depth-estimation"


def abstract(paper):
    """The abstract: the finding, its numbers, what was done."""
    keys = " ".join(r["key"] for r in paper.shown if r)
    finding = f'<span data-runs="{keys}">{paper.verdict.break_even()}</span>'
    if paper.profile == "quick":
        data = tables.DATA.get(paper.frames.name, paper.frames.name)
        return (
            f"This is a quick build on {data}, trained just now: a demonstration, which says nothing about "
            f"the question. What it would say of these few runs: {finding}"
        )
    return (
        f"{finding}\n\n"
        f"{_smallest(paper)} {closing(paper)}\n\n{rounds(paper)}\n\n"
        "Networks that estimate depth from one photo start from an encoder trained to classify ImageNet. We "
        "keep only part of its weights (a *ticket*), train what is left on NYU Depth V2, and compare it with "
        "the dense network of the same seed and the same training, by a plan and a margin fixed beforehand. "
        f"A [study before us]({UNDER_TEST}), here under test, asked the question at 1.8 % and called its "
        "result inconclusive: neither of its networks was clearly better than predicting the mean depth map, "
        "and at that floor nothing can be seen of pruning ([chapter 5](05_postmortem.ipynb))."
    )


def _smallest(paper):
    """What the best ticket of 1.80 % loses."""
    analysis = paper.verdict.main
    row = analysis.row(plan.PRIMARY, plan.LEVEL) or analysis.best(plan.LEVEL)
    if row is None or not analysis.passed:
        return ""
    name = "iterative magnitude pruning (IMP)" if row.arm == "imp" else ARMS[row.arm]
    pairs = plan.difference(row).partition(" m from dense")[2]
    said = f"A ticket of {100 * plan.LEVEL:.2f} %, by {name}, loses {row.difference:.3f} m of rms{pairs}"
    names = {"arm": row.arm, "density": row.density}
    if any(names.items() <= r.items() and r in paper.main for r, _ in _odd(paper)[0]):
        table = analysis.protocols.set_index(["arm", "density"])["full frame, per image"]
        image = table[row.arm, row.density]
        said += f" Few frames carry most of that: averaged per image it loses {image:.3f} m."
    best = analysis.best(plan.LEVEL)
    if best.arm != row.arm:
        said += f" The best so far, {ARMS[best.arm]}, loses {best.difference:.3f} m."
    below = (
        f"{100 * (1 - analysis.dense / analysis.floor):.0f} % below the mean depth map, which sees no photo"
    )
    return f"{said} The dense network's rms is {analysis.dense:.3f} m, {below}."


def headline(paper):
    """The caption of the headline figure."""
    both = len(paper.verdict.movement) > 1
    moves = (
        "Right: that break-even density against the training budget; grey lines are single seeds; a triangle "
        "stands at the sparsest ticket read so far where it lies below, dotted lines reach up from the "
        "densest where it lies above. "
    )
    return (
        f"{'Left: ' if both else ''}Test rms of the one-shot magnitude ticket minus that of the dense "
        "network of the same seed and budget, in metres, against the weights kept: dots are seeds, lines "
        f"their mean, the dashed line is the margin of {stats.MARGIN:.3f} m; diamonds mark where the mean "
        f"first exceeds it. {moves if both else ''}{sizes(paper)}"
    )


def sizes(paper):
    """Input size and test frames behind a figure, as the end of its caption."""
    r = next((r for r in paper.main if r["arm"] != "floor"), None)
    return (
        f"Input {r['config']['height']}×{r['config']['width']}; {tables.protocol(paper.main)}." if r else ""
    )


def made(paper):
    """How it was made, in three sentences."""
    how = "belong to a plan (`PLAN.md`) written before them and after a pilot; for the test scores of the "
    how += "first ten a level was added, and the order was changed twice"
    if paper.profile == "quick":
        how = "were trained here just now and decide nothing"
    return (
        f"The {sum(map(bool, paper.shown))} runs shown {how}; training settings were chosen on validation "
        "scenes. Runs of one seed share the decoder's start, the order of the frames and the "
        "augmentation, so that tickets and dense networks are compared in pairs. Every number and figure "
        "here is rendered from recorded runs: each says which below it, and `./build.sh` makes all of it "
        "again."
    )


def verdict(paper):
    """Both answers, a paragraph each, and what they rest on."""
    study, records = paper.study.name, paper.shown
    answers = paper.verdict.sentence() if paper.profile == "paper" else abstract(paper)
    return f"{answers}\n\n{progress(study, records, len(paper.lost(study)))} {basis(paper, study, records)}"


def progress(name, records, lost=0):
    """How much of a study is recorded, what of it has no result, and whether IMP is shortened."""
    planned, done = study(name), sum(map(bool, records))
    said = f"**{planned.title}**: {done} of {len(records)} runs recorded."
    if lost:
        said += f" {lost} diverged or follow from one that did, and have no result."
    short = next((c for c in planned.configs if c.arm == "imp" and c.round_epochs), None)
    if short and any(r and r["arm"] == "imp" for r in records):
        early = "1 epoch" if short.round_epochs == 1 else f"{short.round_epochs} epochs"
        said += f" IMP is shortened: its earlier rounds last {early}, its last one {short.epochs}."
    return said


def basis(paper, name, records):
    """On what data and from what weights a study's runs were made; "" where there is none."""
    r = next((r for r in records if r and r["arm"] != "floor"), None)
    if r is None:
        return ""
    init, data = r["init"], tables.DATA.get(r["data"]["name"], r["data"]["name"])
    weights = init["description"]
    if init["name"] != "none":
        weights = f"{init['name']}, {weights} (fingerprint {init['fingerprint']})"
    text = f"Made on {data} (fingerprint {r['data']['fingerprint']}). Initial weights: {weights}."
    others = paper.basis(name)[2] if paper.profile == "paper" else 0
    return f"{text} Left out: {others} of its runs on other data or weights." if others else text


def budget(paper):
    """The main budget in words."""
    return f"main budget of {paper.verdict.main.epochs} epochs"


def ways(paper):
    """What every way of drawing the sparsest ticket loses, from the least; "" for fewer than two."""
    analysis = paper.verdict.main
    rows = list(analysis.at(plan.LEVEL).itertuples()) if analysis.passed else []
    if len(rows) < 2:
        return ""
    pairs = "one pair each" if max(r.n for r in rows) == 1 else f"{min(r.n for r in rows)} or more pairs each"
    lost = ", ".join(f"{ARMS[r.arm]} {r.difference:.3f} m" for r in rows)
    floor = f"the mean depth map would lose {analysis.floor - analysis.dense:.3f} m"
    return f"At {100 * plan.LEVEL:.2f} % of the weights, from the least lost: {lost} ({pairs}); {floor}."


def outliers(paper):
    """In which networks a few frames carry much more of the squared error than in dense ones; "" for none."""
    odd, of, usual = _odd(paper)
    if not odd:
        return ""
    named = [f"{label(r)}, seed {r['seed']}, {r['config']['epochs']} epochs, {s:.0f} %" for r, s in odd]
    return (
        f"In {len(odd)} of {of} networks the worst 1 % of the test frames carry more than twice the share of "
        f"the squared error that they carry in dense ones ({usual:.0f} % on average): {'; '.join(named)}. "
        "The pooled rms of these says little of how they do on the other 99 %. This was looked at after the "
        "runs and has no part in the plan."
    )


def _odd(paper):
    """`(networks that outliers names, with their shares in per cent; of how many; the share of dense)`."""
    done = [r for r in [*paper.shown, *paper.rounds] if r and r["arm"] != "floor" and r.get("test")]
    shares = [100 * plan.tail(paper.store.arrays(r["key"])["test/full"])[2] for r in done]
    dense = [share for r, share in zip(done, shares) if r["arm"] == "dense"]
    usual = sum(dense) / max(1, len(dense))
    odd = [(r, share) for r, share in zip(done, shares) if dense and share > 2 * usual]
    return odd, len(done), usual


def closing(paper):
    """What longer training makes of the loss of half the weights and of the sparsest one-shot ticket; ""
    where one budget has them.
    """
    found = [r for r in paper.verdict.closing.itertuples() if min(abs(r.density - k) for k in ENDS) < 1e-9]
    if not found:
        return ""
    first, *_, last = paper.verdict.budgets
    rows = sorted(found, key=lambda r: -r.density)
    losses = [f"{100 * r.density:#.3g} % loses {r.last:.3f} m instead of {r.first:.3f} m" for r in rows]
    pairs = max(r.n for r in rows)
    pairs = "one pair each" if pairs == 1 else f"up to {pairs} pairs each"
    return (
        f"Trained for {last} epochs instead of {first}, beside dense networks trained as long, the one-shot "
        f"ticket of {', that of '.join(losses)} ({pairs})."
    )


def rounds(paper):
    """How tickets of IMP's earlier rounds do, beside one-shot magnitude of the same seeds; "" for none."""
    found = [r for r in paper.rounds if r["arm"] == "imp"]
    epochs = min((r["config"]["epochs"] for r in found), default=0)
    analysis, rows = paper.verdict.budgets.get(epochs), paper.verdict.movement
    even = (
        [r for r in analysis.break_even.itertuples() if r.arm == "imp"] if found and analysis.passed else []
    )
    if not even or rows.empty:
        return ""
    levels = {r["density"] for r in found}
    seeds = {r["seed"] for r in found}  # then those of every level: one with a few does not carry the claim
    seeds = {s for s in seeds if levels == {r["density"] for r in found if r["seed"] == s}}
    one = [
        (r, d) for r in rows.itertuples() if r.epochs == epochs for s, d in r.by_seed.items() if s in seeds
    ]
    beside, at = ", ".join(tables.density(r, d) for r, d in one), tables.density(even[0], even[0].density)
    text = (
        f"Not asked by the plan, but recorded on the way: tickets found on the task, in IMP's earlier rounds "
        f"of {epochs} epochs each, break even with a dense network of {epochs} epochs at {at} of the weights "
        f"(seed {', '.join(map(str, sorted(seeds)))}; one-shot there: {beside}), at the cost of the rounds "
        "before."
    )
    for r, o in ((r, o) for r in found for o in paper.shown if o and _equal(r, o)):
        ours, theirs = (run["test"]["full"]["pooled"]["rms"] for run in (r, o))
        text += (
            f" At equal cost, {o['config']['epochs']} epochs in all, IMP's rms at {100 * r['density']:.1f} % "
            f"is {ours:.3f} m and one-shot's {theirs:.3f} m."
        )
    return text


def _equal(round, one):
    """Whether a round of IMP and a one-shot run of its density and seed cost as many training images."""
    same = (one["arm"], one["density"], one["seed"]) == (CURVE, round["density"], round["seed"])
    return same and plan.images(one.config, one["fit_frames"]) == plan.images(round.config, one["fit_frames"])


def averages(paper):
    """How much lower the rms is per image than pooled, in the networks shown."""
    both = [r["test"]["full"] for r in paper.shown if r and r["arm"] != "floor" and r.get("test")]
    lower = sorted(100 * (1 - b["per_image"]["rms"] / b["pooled"]["rms"]) for b in both)
    if not lower:
        return ""
    span = f"{lower[0]:.1f} to {lower[-1]:.1f} % lower than pooled"
    return f"Averaged per image, the rms of the {len(lower)} networks shown is {span}."


def left(paper):
    """What of the plan is not recorded, in one sentence; nothing where all is."""
    if paper.profile == "quick":
        return "The runs of this build are too few and too small for any conclusion."
    parts = []
    for name, words in (("paper", "the plan's"), ("postmortem", "the post-mortem's")):
        records = paper.records(name)
        if missing := sum(r is None for r in records):
            parts.append(f"{missing} of {words} {len(records)} runs are not recorded yet")
    if not any(r and r["arm"] == "dense" for r in paper.records("full")):
        parts.append("the grid at the published size (228×304, 100 epochs) needs a GPU and has not been run")
    return f"{'; '.join(parts)}." if parts else ""


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


def training_images(verdict, floor, frames=795):
    """What the study under test could and could not have seen with its training images, beside ours.

    Args:
        verdict: the `Verdict` of a study with several budgets; floor: `Paper.published_floor`, or None;
            frames: training frames of that study.
    """
    theirs, level = 10 * 24 * 50, f"{100 * plan.LEVEL:.2f} %"
    text = f"**What {theirs:,} images can show.** So many they trained on: ten epochs of 24 batches of 50."
    analyses = [a for a in verdict.budgets.values() if a.passed]
    known = [(frames * a.epochs, a, row) for a in analyses if (row := a.row(CURVE, plan.LEVEL))]
    if known:
        text += " Ours, at another input size and on the official test frames:\n"
    for images, a, row in known:
        pairs = "one pair" if row.n == 1 else f"mean of {row.n} pairs"
        text += (
            f"\n- {images:,} images, {a.epochs} epochs of {frames} frames: dense rms {a.dense:.3f} m, "
            f"{100 * (1 - a.dense / a.floor):.0f} % below the mean depth map's {a.floor:.3f} m; the one-shot "
            f"ticket of {level} loses {row.difference:.3f} m ({pairs})."
        )
    least = min((min(row.seeds) for images, _, row in known if images < theirs), default=0)
    if least > stats.MARGIN:
        text += (
            "\n\nSo fewer images than theirs, in a sound training, take a network well below the floor, and "
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
            "one run each on 50 frames. That says how two trainings ended, not what a ticket is worth."
        )
    return text


def readme(paper):
    """The README's texts by their marks: the finding with its figure, and the front page's table."""
    table = tables.front(paper, paper.published_floor)
    finding = paper.verdict.break_even(), f"{_smallest(paper)} {closing(paper)}", rounds(paper)
    return {
        "finding": "\n\n".join(filter(None, finding)),
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
