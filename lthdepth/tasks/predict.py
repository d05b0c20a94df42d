"""Depth of a photo of your own: a 16-bit PNG in millimetres, and a picture of photo and depth."""

from pathlib import Path


def arguments(p):
    p.add_argument("photo", type=Path, help="a .jpg or .png; it is turned as its EXIF orientation says")
    p.add_argument(
        "--run",
        required=True,
        dest="name",
        metavar="KEY",
        help="the run whose network predicts (`show` lists them)",
    )
    p.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write the two files (default: beside the photo)"
    )
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N")


def run(args):
    import numpy as np

    from ..inference import predict
    from ..training.fit import pick_device

    device = pick_device(args.device)
    rgb = predict.photo(args.photo)
    record, model = predict.network(args.name, device=device)
    metres = predict.depth(rgb, record, model, device)
    words = predict.about(record, rgb)
    files = predict.save(args.photo, rgb, metres, record, args.out or args.photo.parent, words)
    low, middle, high = np.percentile(metres, [1, 50, 99])
    print(
        f"{args.photo}: {rgb.shape[1]}×{rgb.shape[0]} pixels, depth {low:.2f} to {high:.2f} m, median {middle:.2f} m"
    )
    print(words)
    print(f"depth, 16 bits, millimetres: {files[0]}\nphoto and depth: {files[1]}")
