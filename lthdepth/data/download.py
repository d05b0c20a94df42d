"""The official `nyu_depth_v2_labeled.mat` fetched from its public place, resumed when broken, verified."""

import hashlib
import http.client
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from ..errors import UserError, reason
from .nyu import DATA_DIR

PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
URL = "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat"
SIZE, SHA256 = 2_972_037_809, "2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa"


def download(out=DATA_DIR / "nyu_depth_v2_labeled.mat", url=URL, size=SIZE, sha256=SHA256):
    """Fetches the official file, unless it is there; what an earlier attempt left is continued.

    Returns the path. Raises UserError where it cannot be had or written, or is not what `size` (bytes) and
    `sha256` (hex digits) say; the sentence says how to get it by hand.
    """
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        start = part.stat().st_size if part.exists() else 0
        if not out.exists() and start < size:
            _receive(Request(url, headers={"User-Agent": "lthdepth", "Range": f"bytes={start}-"}), part, size)
        came = out if out.exists() else part
        with open(came, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise UserError(f"{came} is not the official file (by its SHA-256): remove it and try again.")
        return came.replace(out)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: of a proxy's address
        raise UserError(
            f"{url} could not be downloaded to {out} ({reason(error)}): try again, it continues where it "
            f"broke, or get the labeled dataset ({size:,} bytes) by hand from {PAGE} and save it there."
        ) from None


def _receive(request, part, size):
    """Appends to `part` what is missing of it; a server that knows no ranges sends it all anew."""
    with urlopen(request, timeout=30) as answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        missing = size - file.tell()
        if int(answer.headers.get("Content-Length", missing)) != missing:  # as that of a login page
            raise OSError(f"the file there has not {size} bytes")
        with tqdm.wrapattr(answer, "read", total=missing, desc=part.stem) as stream:
            while piece := stream.read(1 << 20):
                file.write(piece)
        if file.tell() != size:
            raise OSError("the connection broke")
