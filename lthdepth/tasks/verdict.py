"""Apply the analysis plan to recorded runs: one sentence and the tables; no GPU, data or weights."""

VERDICTS = ("paper", "pilot", "full")


def arguments(p):
    p.add_argument("study", nargs="?", default="paper", help="paper (default), pilot or full")


def run(args):
    from ..errors import UserError
    from ..paper import findings, tables
    from ..paper.study import Desk
    from ..runs import studies as experiments

    if args.study not in VERDICTS:
        experiments.study(args.study)  # refuses a name that is none
        raise UserError(
            f"the study {args.study} compares no tickets of many seeds; a verdict is on {' or '.join(VERDICTS)}."
        )
    desk = Desk("paper")
    records = desk.records(args.study)
    found = desk.analyse(args.study, records)
    main = found.main
    print(tables.progress(args.study, records, found.failed).replace("**", ""))
    print(tables.plain(found.sentence()))
    for table in (
        findings.tickets(main),
        findings.controls(main),
        findings.break_even(main),
        findings.protocols(main),
    ):
        if len(table):
            print(f"\n{table.to_string(index=False)}")
