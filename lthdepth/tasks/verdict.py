"""Apply the analysis plan to recorded runs: one sentence and the tables; no GPU, data or weights."""


def arguments(p):
    p.add_argument("study", nargs="?", default="paper", help="name of a study (default: paper)")


def run(args):
    from .. import tables
    from ..experiments import Desk

    desk = Desk("paper")
    records = desk.records(args.study)
    found = desk.analyse(args.study, records)
    print(tables.progress(args.study, records).replace("**", ""))
    print(tables.plain(found.sentence()))
    for table in (tables.tickets(found), tables.controls(found), tables.break_even(found), tables.protocols(found)):
        if len(table):
            print(f"\n{table.to_string(index=False)}")
