"""The official `nyu_depth_v2_labeled.mat` fetched from its public place, resumed when broken, verified."""

import hashlib
import http.client
from pathlib import Path
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from ..errors import UserError, reason
from .nyu import DATA_DIR

PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
FILE = "horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat"
SIZE, SHA256 = 2_972_037_809, "2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa"


def download(out=DATA_DIR / "nyu_depth_v2_labeled.mat", url=f"http://{FILE}", size=SIZE, sha256=SHA256):
    """Fetches the official file, unless it is there; what an earlier attempt left is continued.

    Returns the path. Raises UserError where it cannot be had or written, or is not what `size` (bytes) and
    `sha256` (hex digits) say; the sentence says how to get it by hand.
    """
    out = Path(out)
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.exists():
            _receive(url, part, size)
        came = out if out.exists() else part
        with open(came, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise UserError(
                    f"{came} is not the official file (its SHA-256 differs): remove it and try again."
                )
        return came.replace(out)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: of a proxy's address
        raise UserError(
            f"{url} could not be downloaded to {out} ({reason(error)}): try again, it continues where it "
            f"broke, or get the labeled dataset ({size:,} bytes) by hand from {PAGE} and save it there."
        ) from None


def _receive(url, part, size):
    """Appends to `part` what is missing of it; a server that knows no ranges sends it all anew."""
    start = part.stat().st_size if part.exists() else 0
    if start >= size:
        return
    request = Request(url, headers={"User-Agent": "lthdepth", "Range": f"bytes={start}-"})
    with urlopen(request, timeout=30) as answer:
        start = start if answer.status == 206 else 0
        length = start + int(answer.headers.get("Content-Length", 0))
        if length != size:  # as that of a login page
            raise OSError(f"the file there has {length} bytes, not {size}")
        bar = tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=part.stem)
        with bar, open(part, "ab" if start else "wb") as file:
            while piece := answer.read1(1 << 20):
                file.write(piece)
                bar.update(len(piece))
    if part.stat().st_size != size:
        raise OSError("the connection broke")
