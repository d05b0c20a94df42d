"""The official `nyu_depth_v2_labeled.mat` fetched from its public place, resumed when broken, verified."""

import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

from ..errors import UserError
from .hdf5 import looks_like_html
from .nyu import DATA_DIR

PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
MIRRORS = (
    "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",
    "https://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",
)
SIZE = 2_972_037_809  # bytes
SHA256 = "2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa"
PIECE = 1 << 20  # bytes read at a time


class _Broken(Exception):
    """The connection failed in a way that may pass."""


class _Refused(Exception):
    """The mirror does not have the file: no use in trying it again."""


def download(
    out=DATA_DIR / "nyu_depth_v2_labeled.mat",
    mirrors=MIRRORS,
    progress=True,
    size=SIZE,
    sha256=SHA256,
    retries=3,
    wait=1.0,
    timeout=30.0,
):
    """Fetches the official file, or completes an earlier attempt, and puts it in place once it is verified.

    What has come so far lies in `<out>.part`; it is kept when the connection breaks and continued from there.

    Args:
        out: where the file goes.
        mirrors: addresses, tried in order.
        progress: show a progress bar.
        size: what it must have, bytes.
        sha256: what it must have, hex.
        retries: how often one mirror is tried again in a row without a new byte.
        wait: seconds before the first such retry, doubled for each further one.
        timeout: seconds without an answer after which a connection counts as broken.

    Returns:
        Path of the file.

    Raises:
        UserError: no mirror has it (the message says how to get it by hand), there is another file in its
            place, or there is no space or no permission for it.
    """
    out = Path(out)
    part = out.with_name(out.name + ".part")
    if out.exists():
        if out.is_file() and out.stat().st_size == size and _sha256(out, progress) == sha256:
            return out
        raise UserError(f"{out} is there but is not the official file: move it away and try again.")
    reasons = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        missing = size - _length(part)
        free = shutil.disk_usage(out.parent).free
        if free < missing:
            raise UserError(
                f"{out.parent} has {free / 1e9:.1f} GB free, but {missing / 1e9:.1f} GB are "
                "still to come: free some space or choose another folder."
            )
        for mirror in mirrors:
            try:
                _complete(mirror, part, size, sha256, progress, retries, wait, timeout)
            except _Refused as reason:
                reasons.append(f"{mirror}: {reason}")
                if _length(part) == 0:
                    part.unlink(missing_ok=True)
                continue
            os.replace(part, out)
            return out
    except OSError as error:  # what the network raises is handled below, so this is the disk
        raise UserError(f"{part} cannot be written ({error}): check the folder and its free space.") from None
    raise UserError(
        f"{out.name} could not be downloaded ({'; '.join(reasons)}): get it by hand from {PAGE} "
        f"(the labeled dataset, {size:,} bytes), save it as {out}, then run "
        f"`python -m lthdepth data {out}`."
    )


def _complete(mirror, part, size, sha256, progress, retries, wait, timeout):
    """Makes `part` the whole, verified file, or raises _Refused."""
    resumed = _length(part) > 0
    failures = 0
    while _length(part) != size:
        before = _length(part)
        try:
            _receive(mirror, part, size, progress, timeout)
            problem = "the connection broke"
        except _Broken as broken:
            problem = str(broken)
        if _length(part) == size:
            break
        failures = failures + 1 if _length(part) <= before else 1
        if failures > retries:
            raise _Refused(problem)
        time.sleep(wait * 2 ** (failures - 1))
    if _sha256(part, progress) != sha256:
        part.unlink()
        if resumed:  # the bad bytes may be those of an earlier attempt
            return _complete(mirror, part, size, sha256, progress, retries, wait, timeout)
        raise _Refused("the file there has another SHA-256")


def _receive(mirror, part, size, progress, timeout):
    """One request: appends to `part` what comes."""
    start = _length(part)
    if start > size:
        part.unlink()
        start = 0
    request = urllib.request.Request(mirror, headers={"User-Agent": "lthdepth", "Range": f"bytes={start}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        kind = _Broken if error.code in (408, 425, 429) or error.code >= 500 else _Refused
        raise kind(f"HTTP {error.code} {error.reason}") from None
    except (http.client.InvalidURL, ValueError) as error:  # of a proxy in the environment
        raise _Refused(str(error)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(getattr(error, "reason", error)) or type(error).__name__) from None
    with answer:
        start = _start(answer, start, size)
        with (
            open(part, "ab") as file,
            tqdm(
                total=size, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=not progress
            ) as bar,
        ):
            file.truncate(start)
            while start < size:
                try:
                    piece = answer.read1(PIECE)
                except (OSError, http.client.HTTPException) as error:
                    raise _Broken(str(error) or type(error).__name__) from None
                if not piece:
                    break
                if start == 0 and looks_like_html(piece):
                    raise _Refused("the answer is a web page")
                piece = piece[: size - start]
                file.write(piece)
                start += len(piece)
                bar.update(len(piece))
            file.flush()
            os.fsync(file.fileno())


def _start(answer, asked, size):
    """The byte at which an answer begins, after a check that it is an answer about this file."""
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _Refused("the answer is a web page")
    if answer.status == 206:
        span = answer.headers.get("Content-Range", "")
        first, _, total = span.removeprefix("bytes ").partition("/")
        if total not in (str(size), "*"):
            raise _Refused(f"the file there is another one (Content-Range: {span or 'none'})")
        if first.partition("-")[0] != str(asked):
            raise _Refused("it answers with another part than the one asked for")
        return asked
    length = answer.headers.get("Content-Length", str(size))
    if length != str(size):
        raise _Refused(f"the file there has {length} bytes, not {size}")
    return 0


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _sha256(path, progress):
    digest = hashlib.sha256()
    with (
        open(path, "rb") as file,
        tqdm(
            total=path.stat().st_size,
            unit="B",
            unit_scale=True,
            desc="checking",
            disable=not progress,
            leave=False,
        ) as bar,
    ):
        while piece := file.read(PIECE):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()
