"""Files that are either whole or absent, never executed, and locks that end with their process."""

import fcntl
import hashlib
import io
import json
import os
import platform
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .errors import UserError, reason, warn

LARGEST = 2**31  # bytes that a packed file may unpack to: several ResNets with their optimiser


class Busy(UserError):
    """Another process is at work on the same thing."""


@contextmanager
def replacing(path):
    """Yields the path of a new file that takes the place of `path`, safe on disk, unless an error comes.

    A crash at any moment leaves the old file or the new one, never a half.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        yield Path(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(part, 0o644)  # mkstemp makes it readable by its owner alone
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or reason(error)}): free some space or use another folder."
        ) from None
    finally:
        if part:
            Path(part).unlink(missing_ok=True)


def write_atomic(path, content):
    """Write a file whole or not at all.

    Args:
        path: target; its folder is made where needed.
        content: bytes; text; for `.json` what json writes; otherwise tensors, as `read_tensors` reads them.

    Raises:
        UserError: as `replacing`.
    """
    path = Path(path)
    if path.suffix == ".json" and not isinstance(content, str | bytes):
        content = json.dumps(content, indent=1) + "\n"
    if isinstance(content, str):
        content = content.encode()
    with replacing(path) as part, open(part, "wb") as file:
        file.write(content if isinstance(content, bytes) else sealed(content))


def sealed(content):
    """What `torch.save` writes of tensors, with a SHA-256 of it all as the comment of its zip archive."""
    import torch  # here, for it takes 0.7 GB of memory, and who reads frames needs none of it

    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)  # an archive ends with the length of its comment, here 0
    comment = _seal(buffer.getbuffer()[: buffer.tell()])
    buffer.write(len(comment).to_bytes(2, "little") + comment)
    return buffer.getbuffer()


def _seal(content):
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def read_tensors(path, device="cpu"):
    """Read tensors that `write_atomic` wrote. Nothing in the file is executed.

    A file without a checksum, of an earlier version, is read as it is.

    Raises:
        UserError: the file is absent or damaged.
    """
    from .versions import torch  # one that is safe

    path = Path(path)
    try:
        data = path.read_bytes()
        comment = check_zip(io.BytesIO(data), path)
        if comment and comment != _seal(memoryview(data)[: -len(comment) - 2]):
            raise ValueError("its checksum does not match")
        return torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch has many ideas of a damaged file
        raise UserError(
            f"{path} cannot be read ({reason(error)}): remove it, and it is made again."
        ) from None


def check_zip(file, name):
    """Refuses a zip archive that would unpack to more than `LARGEST` bytes. Returns its comment.

    Raises:
        UserError: it would; `name` is the file for the message.
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise UserError(f"{name} unpacks to more than {LARGEST >> 20} MiB: that is nothing of ours.")
        return archive.comment


def read_arrays(path, then="remove it, and it is made again"):
    """Read the arrays of a `.npz`: `{name: array}`. Nothing in the file is executed.

    Args:
        path: the file.
        then: what a person should do about a damaged one.

    Raises:
        UserError: the file is absent, damaged, holds more than plain arrays, or unpacks to more than `LARGEST` bytes.
    """
    try:
        check_zip(path, path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise UserError(f"{path} cannot be read ({reason(error)}): {then}.") from None


def digest(arrays):
    """SHA-256 over names, dtypes, shapes and values of arrays, as hex digits."""
    found = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        found.update(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes())
    return found.hexdigest()


@contextmanager
def locked(path, wait=True, deadline=None):
    """Holds a file or folder for this process alone until the block, or the process, ends, however it ends.

    What a killed process left half-written of it, or in it, is then removed.

    Args:
        path: what to hold; need not exist.
        wait: wait for another process that holds it.
        deadline: `time.monotonic()` until which to wait; None: as long as it takes.

    Raises:
        Busy: another process holds it still.
        UserError: as `replacing`.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    handle = _take(lock, path, wait, deadline)
    try:
        for folder, start in ((path.parent, f".{path.name}."), (path, ".")):
            for stale in folder.iterdir() if folder.is_dir() else ():
                if stale.name.startswith(start) and stale.suffix == ".part":
                    stale.unlink(missing_ok=True)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def tidy(path):
    """Remove what a process that was killed right after it wrote a file left beside it, where this one may."""
    if any(path.parent.glob(f".{path.name}.*")):
        with suppress(UserError), locked(path, wait=False):
            pass


def _take(lock, path, wait, deadline):
    """Open file descriptor of the lock file, held."""
    told = False
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(
                lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644
            )  # a link would name another's file
        except OSError as error:
            raise UserError(
                f"cannot write {path} ({error.strerror}): free some space or use another folder."
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (
                lock.exists() and os.fstat(handle).st_ino == lock.stat().st_ino
            ):  # not one that was just given up
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
                return handle
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace") or "another process"
            if not wait or deadline is not None and time.monotonic() > deadline:
                os.close(handle)
                raise Busy(f"{holder} is at work on {path}; wait for it to end.") from None
            if not told:
                warn(f"{holder} is at work on {path}; waiting for it to end.")
                told = True
            time.sleep(0.2)
        except OSError as error:
            warn(
                f"{lock.parent} has no file locks ({error.strerror}): start no second process on the same run."
            )
            return handle
        os.close(handle)
