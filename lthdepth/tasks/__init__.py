"""The command line's tasks, a file each: its docstring is its help, `arguments(parser)` its options, `run(args)` does it.

Heavy imports wait inside `run`, so that help is quick.
"""

TASKS = ("data", "train", "ticket", "sweep", "merge", "show", "verdict", "predict", "build", "pairs", "cost")


def sources(p, needed, action="store"):
    """The options --data, --weights and --device of a task's parser.

    needed: --data must be given; action: of --weights, "append" where it may be given several times.
    """
    p.add_argument(
        "--data", required=needed, metavar="SOURCE", help="rooms, rooms:N, a cache .h5 or the official .mat"
    )
    p.add_argument(
        "--weights",
        metavar="SOURCE",
        action=action,
        help="none, IMAGENET1K_V1 ..., or a file .pth/.pth.xz/.safetensors",
    )
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N")


def line(r):
    """A record on one line."""
    split = "test" if r.get("test") else "validation"
    s = r[split]["full"]["pooled"] if r.get(split) else None
    scores = (
        f"{split}: rel {s['rel']:.3f}  rms {s['rms']:.3f} m  delta1 {s['delta1']:.3f}" if s else "not scored"
    )
    epochs = r.get("epochs_run", 0)
    size = (
        f"{r['config']['height']}x{r['config']['width']}, {epochs} epoch{'s' * (epochs != 1)}"
        if r["arm"] != "floor"
        else ""
    )
    return f"{r['key']}  {r['study']:16}  {r['arm']:9} {100 * r['density']:6.2f} %  seed {r['seed']}  {size:19}  {scores}"
