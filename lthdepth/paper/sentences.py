"""What the paper says of its records: sentences, in Markdown."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd

from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.postmortem import relative
from ..analysis.verdict import CURVE, analyse, apart, by_seed, conclude, curve, moved
from ..config import ARMS, ROUNDS
from ..runs import studies
from ..runs.record import label
from . import plots, tables


def abstract(paper):
    """The finding and its numbers; of a quick build, what it would say."""
    keys = " ".join(r["key"] for r in paper.shown if r)
    answer, *rest = finding(paper)
    headline, mark, details = answer.rpartition("**")  # the bold sentence shows its runs
    answer = f'<span data-runs="{keys}">{headline}{mark}</span>{details}'
    if paper.profile == "quick":
        data = tables.DATA.get(paper.frames.name, paper.frames.name)
        return (
            f"This is a quick build on {data}, trained just now: a demonstration, which says nothing about "
            f"the question. What it would say of these few runs: {answer}"
        )
    return "\n\n".join([answer, *rest])


def finding(paper):
    """The paragraphs of the finding: question 1, the sparsest tickets, what they lose at equal cost."""
    about = paper.verdict.break_even(), gradual(paper), reruns(paper)
    curve = " ".join(filter(None, about))
    return [said for said in (curve, smallest(paper), equal_cost(paper, plan.LEVEL)) if said]


def gradual(paper):
    """Where gradual magnitude pruning breaks even at the main budget, beside one-shot magnitude of the same
    seeds; "" for no seed with both.
    """
    main = paper.verdict.main
    ours, theirs = (by_seed(curve(main, arm)) if main.passed else {} for arm in ("gradual", CURVE))
    each = [f"at {ours[s]} where one-shot does at {theirs[s]} (seed {s})" for s in ours if s in theirs]
    said = f"A ticket found gradually within the run breaks even, after {main.epochs} epochs,"
    return f"{said} {', '.join(each)}." if each else ""


def smallest(paper):
    """What the tickets of 1.80 % lose: all of them, the one that decides, and those shown to be worse."""
    analysis, kept = paper.verdict.main, f"{100 * plan.LEVEL:.2f} %"
    rows = list(analysis.at(plan.LEVEL).itertuples()) if analysis.passed else []
    rows = [r for r in rows if r.arm != "lrr"]  # which trains longer than its last round: `rewinding`
    if not rows:
        return ""
    least, n = min(min(r.seeds) for r in rows), sum(r.n for r in rows)
    said = (
        f"**At {kept} of the weights each of the {n} networks trained for {analysis.epochs} epochs from the "
    )
    said += f"pre-trained weights loses at least {least:.3f} m of rms**"
    if least <= stats.MARGIN:
        said = f"At {kept} of the weights the best of {n} networks loses {least:.3f} m of rms"
    said += f" against the dense network of its seed ({analysis.dense:.3f} m on average, "
    said += f"{100 * (1 - analysis.dense / analysis.floor):.0f} % below the mean depth map)."
    if row := analysis.row(plan.PRIMARY, plan.LEVEL):
        said += f" {_primary(paper, row)}"
    if worse := [r for r in rows if r.arm != plan.PRIMARY and analysis.outcome(r) == "worse"]:
        least, *others = worse
        said += f" Of the tickets shown to lose more than the margin {ARMS[least.arm]} loses least, "
        said += (
            f"{least.difference:.3f} m (95 % interval {_interval(least.low, least.high)}, {_pairs(worse)})"
        )
        said += f"; {', '.join(f'{ARMS[r.arm]} {r.difference:.3f} m' for r in others)}." if others else "."
    if row := analysis.row("lrr", plan.LEVEL):
        said += " The exception goes on from trained weights: IMP with rate rewinding loses "
        said += f"{row.difference:.3f} m ({_pairs([row])})."
    return said + paper.verdict.lost()


def _primary(paper, row):
    """What the ticket that decides question 2 costs and loses, and what follows."""
    own = next(c for c in paper.study.configs if c.arm == row.arm and np.isclose(c.density, row.density))
    said = "The plan decides by iterative magnitude pruning (IMP), which costs "
    said += f"{epochs_in_all(own)} epochs in all. It loses {row.difference:.3f} m ({_pairs([row])}"
    said += f"; 95 % interval {_interval(row.low, row.high)})" if row.n > 1 else ")"
    if row.n >= plan.SEEDS:
        outcome = conclude(paper.verdict.main, row)
        said += f": {outcome[0].lower()}{outcome[1:-1]}"
    return f"{said}. {apart(row)}".rstrip()


def per_image(paper):
    """What the ticket that decides question 2 loses per image; "" for fewer than two pairs."""
    losses = stats.pair(plan.scores(paper.main, "full", "per_image"), plan.PRIMARY, plan.LEVEL)
    if len(losses) < 2 or not paper.verdict.main.passed:
        return ""
    said = f"Averaged per image IMP at {100 * plan.LEVEL:.2f} % loses {losses.mean():.3f} m, 95 % interval "
    return f"{said}{_interval(*stats.interval(losses))} over {len(losses)} pairs."


def _interval(low, high):
    return f"{tables.interval(low, high)} m"


def size(paper):
    """Input size and test frames, for a caption."""
    r = next((r for r in paper.main if r["arm"] != "floor"), None)
    return f"{r['config']['height']}×{r['config']['width']}; {tables.protocol(paper.main)}" if r else ""


def training(paper):
    """The settings that all runs of the study share; "" without a dense run."""
    r = next((r for r in paper.main if r["arm"] == "dense"), None)
    if r is None:
        return ""
    c, frames = r.config, r["fit_frames"]
    names = {"adamw": "AdamW, weight decay decoupled", "adam": "Adam", "sgd": "SGD"}
    held = "" if c.holdout else ", those of the validation scenes too"
    return (
        f"All runs of this study share these: {names[c.optimiser]}, {c.weight_decay:g}; momentum "
        f"{c.momentum:g}; peak rates {c.lr_encoder:g} for the encoder and {c.lr_decoder:g} for the decoder, "
        f"reached after {100 * c.warmup:g} % of the steps, then {c.schedule} down to 0; {c.batch} frames a "
        f"step, {frames // c.batch} steps an epoch ({frames} training frames{held}); input "
        f"{c.height}×{c.width}; {'full augmentation' if c.rotation else 'mirroring alone'}; the last bias "
        f"starts at {c.bias:g} m."
    )


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
        said += f" IMP's earlier rounds take {short.round_epochs} epochs each, its last {short.epochs}."
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


def _seeds(seeds):
    """Such as "seed 0", "seeds 0, 1"."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def ways(paper):
    """What every way of drawing the sparsest ticket loses, from the least; "" for fewer than two."""
    analysis = paper.verdict.main
    rows = list(analysis.at(plan.LEVEL).itertuples()) if analysis.passed else []
    lost = ", ".join(f"{ARMS[r.arm]} {r.difference:.3f} m ({_pairs([r])})" for r in rows)
    said = (
        f"At {100 * plan.LEVEL:.2f} % of the weights, from the least lost: {lost}; the mean depth map would "
    )
    said += f"lose {analysis.floor - analysis.dense:.3f} m. Other seeds may rank them otherwise."
    return said if len(rows) > 1 else ""


def outliers(paper):
    """In which networks a few frames carry much more of the squared error than in dense ones; "" for none."""
    done = [r for r in [*paper.shown, *paper.rounds] if r and r["arm"] != "floor"]
    shares = [100 * plan.tail(paper.store.arrays(r["key"])["test/full"]) for r in done]
    usual = np.mean([share for r, share in zip(done, shares) if r["arm"] == "dense"] or np.inf)
    odd = [(r, share) for r, share in zip(done, shares) if share > 2 * usual]
    named = [f"{label(r)}, seed {r['seed']}, {r['config']['epochs']} epochs, {s:.0f} %" for r, s in odd]
    said = f"In {len(odd)} of {len(done)} networks, IMP's earlier rounds included, the worst 1 % of the test "
    said += f"frames carry more than twice their share of the squared error in dense ones ({usual:.0f} %): "
    return f"{said}{'; '.join(named)}." if odd else ""


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
    theirs = [str(one.by_seed.get(seed, "–")) for seed in losses.index]
    text = (
        "Exploratory, not asked by the plan: tickets found on the task, in IMP's earlier rounds of "
        f"{epochs} epochs each, break even with a dense network of {epochs} epochs at {', '.join(ours)} of "
        f"the weights ({_seeds(losses.index)}; one-shot: {', '.join(theirs)}), at the cost of the rounds "
        "before."
    )
    better = [f"{100 * k:.3g} %" for k in sorted(losses, reverse=True) if (losses[k] < 0).all()]
    if better:
        text += f" At {' and '.join(better)} they do better than the dense network, with every seed."
    floor = paper.verdict.budgets[epochs].floor
    scores = [(r, _rms(r)) for r in found if r["config"]["epochs"] == epochs]
    if lost := [f"{label(r)}, seed {r['seed']}, {rms:.3f} m" for r, rms in scores if rms > floor]:
        text += f" Of the {len(scores)}, worse than the mean depth map: {'; '.join(lost)}."
    return text


def equal_cost(paper, density=None):
    """Test rms of dense networks, one-shot tickets and those of IMP that cost as many epochs in all, earlier
    rounds included, of one density or of every one; "" for none.
    """
    found = {}
    for r in [*paper.earlier, *paper.shown]:
        if r and r["arm"] in ("dense", CURVE, *ROUNDS):
            found.setdefault((r["arm"], r["density"], epochs_in_all(r.config)), {})[r["seed"]] = _rms(r)
    rounds = sorted(
        {(epochs, kept) for arm, kept, epochs in found if arm in ROUNDS and density in (None, kept)}
    )
    said = []
    for epochs, kept in rounds:
        if (CURVE, kept, epochs) in found:
            each = (
                f"{ARMS[arm]} {', '.join(f'{rms:.3f}' for rms in by.values())} m ({_seeds(by)})"
                for arm in ("dense", CURVE, *ROUNDS)
                if (by := found.get((arm, 1.0 if arm == "dense" else kept, epochs)))
            )
            at = f"{100 * kept:#.3g} % of the weights, {epochs} epochs in all"
            said.append(f"The rms at equal cost ({at}): {'; '.join(each)}.")
    return " ".join(said)


def rewinding(paper):
    """How tickets of IMP with rate rewinding do from round to round, first seed; "" for none."""
    found = [r for r in [*paper.earlier, *paper.shown] if r and r["arm"] == "lrr"]
    if not found:
        return ""
    seed = min(r["seed"] for r in found)
    first = sorted((r for r in found if r["seed"] == seed), key=lambda r: -r["density"])
    each = (f"{_rms(r):.3f} m at {100 * r['density']:#.3g} % after {epochs_in_all(r.config)}" for r in first)
    return (
        "IMP with rate rewinding, whose weights go on training from round to round, has an rms of "
        f"{', '.join(each)} epochs of all rounds together (seed {seed})."
    )


def _rms(record):
    return record["test"]["full"]["pooled"]["rms"]


def epochs_in_all(config):
    """Epochs that a run costs, those of the runs that its ticket follows from included."""
    return plan.images(config, config.batch) // config.batch


def reruns(paper):
    """Recorded runs that were made once more and ended otherwise, and what the break-even density would be
    with them; "" for none.
    """
    first = {r["key"]: r for r in [*paper.shown, *paper.rounds] if r}
    again = {
        r["key"]: r for r in paper.store.reruns() if r["key"] in first and _rms(r) != _rms(first[r["key"]])
    }
    if not again:
        return ""
    each = [
        f"the run “{label(r)}, seed {r['seed']}, {r['config']['epochs']} epochs” ended at {_rms(r):.3f} m, "
        f"not {_rms(first[key]):.3f} m"
        for key, r in again.items()
    ]
    others = [again.get(key, r) for key, r in first.items()] + paper.lost(paper.study.name)
    other, changed = analyse(paper.study.name, others).movement, []
    for old, new in zip(paper.verdict.movement.itertuples(), other.itertuples(), strict=True):
        places = [("", plan.density(new, new.density), plan.density(old, old.density))]
        places += [(f"seed {s}: ", str(new.by_seed[s]), str(place)) for s, place in old.by_seed.items()]
        if differing := [f"{whose}{now} instead of {was}" for whose, now, was in places if now != was]:
            changed.append(f"after {old.epochs} epochs would be {', '.join(differing)}")
    said = f"Made again on another machine, {'; '.join(each)}"
    said += f"; with it the break-even density {'; '.join(changed)}." if changed else "."
    (was, known), (now, _) = moved(paper.verdict.movement), moved(other)
    return f"{said}{f' Then: {now}' if known and now != was else ''} The first result stands."


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
            f"about {least / stats.MARGIN:.0f} times the margin of {stats.MARGIN:.3f} m."
        )
    if floor:
        dense, sparse = (scores["rms"] for scores in tables.published_scores().values())
        mean = floor["test"]["full"]["pooled"]["rms"]
        text += (
            "\n\nTheir pair could not tell a worse ticket from a worse training. Their dense network, "
            f"{dense:.3f} m, had at most {max(0, mean - dense):.3f} m to lose before the mean depth map, "
            f"{mean:.3f} m, does as well; the {sparse - dense:.3f} m that they print between dense and "
            "sparse lie beyond it, in one run each on 50 frames."
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
