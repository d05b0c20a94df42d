"""Files that are whole or absent and never executed, and one lock."""

import io
import json
import lzma
import os
import pickle
import platform
import uuid
import warnings
import zipfile
from argparse import Namespace
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import filelock
import numpy as np

from .errors import UserError, reason, warn

LARGEST = 2**31  # bytes that a file may have, or unpack to: several ResNets with their optimiser
AGAIN = "get the file again"
ANEW = "remove it, and it is made again"
PLAIN = [  # what training scripts save beside the tensors: their arguments, paths, a score
    Namespace,
    *((PurePath, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath", "PurePath")),
    *((np.float64(0).__reduce__()[0], f"numpy.{name}.multiarray.scalar") for name in ("core", "_core")),
    *(np.dtype, *(type(np.dtype(kind)) for kind in "?ilfd")),
]


class Busy(UserError):
    """Another process is at work on the same thing."""


@contextmanager
def replacing(path):
    """Yields the path of a new file that takes the place of `path`, unless an error comes.

    A crash at any moment leaves the old file or the new one, never a half. Raises UserError where the folder
    cannot be made or written, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(OSError):  # of a folder that is none
            part.unlink(missing_ok=True)


def write_atomic(path, content):
    """Write a file whole or not at all; raises as `replacing`.

    content: bytes; text; for `.json` what json writes; for `.npz` arrays by name; otherwise tensors, as
    `read_tensors` reads them.
    """
    suffix = Path(path).suffix
    if suffix == ".json" and not isinstance(content, str | bytes):
        content = json.dumps(content, indent=1) + "\n"
    if isinstance(content, str):
        content = content.encode()
    if not isinstance(content, bytes):
        buffer = io.BytesIO()  # torch itself tells a full disk in another way
        if suffix == ".npz":
            np.savez_compressed(buffer, **content)
        else:
            import torch  # here, for it takes 0.7 GB of memory, and who reads frames needs none of it

            torch.save(content, buffer)
        content = buffer.getbuffer()
    with replacing(path) as part:
        part.write_bytes(content)


def existing(source, kind="file"):
    """The path of a file that a person named, `~` being their home. Raises UserError where there is none."""
    path = Path(os.path.expanduser(source))
    if os.path.isfile(path):
        return path
    raise UserError(f"there is no {kind} {source} here: name a file on this machine.")


def read_tensors(path, device="cpu", then=ANEW):
    """Read what `torch.save` or safetensors wrote, packed by xz or not. Nothing in the file is executed.

    device: where the tensors go; then: what a person should do about a damaged file. Raises UserError where
    it is absent, damaged, too large, or holds more than tensors and plain values.
    """
    import safetensors.torch
    import torch

    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB")
        data = path.read_bytes()
        if path.suffix.lower() == ".xz":
            unpacker = lzma.LZMADecompressor()
            data = unpacker.decompress(data, LARGEST)
            if not unpacker.eof:
                raise EOFError("it is cut short, or too large")
        if looks_like_html(data[:1024]):
            raise ValueError("it is a web page: read what the server said")
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load(data)
        if zipfile.is_zipfile(io.BytesIO(data)):
            _check_zip(io.BytesIO(data))
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layouts to come, and of a script that is not run
            return torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except Exception as error:  # every library here has its own idea of a damaged file
        other = ("TorchScript", "not in a subdirectory")  # the second: a zip of something else, as a .npz
        if isinstance(error, pickle.UnpicklingError) or any(words in str(error) for words in other):
            advice = "save a state dict instead" if then == AGAIN else then
            raise UserError(f"{path} is no plain file of tensors: nothing in it was run; {advice}.") from None
        strange = not isinstance(error, ValueError | OSError | EOFError | lzma.LZMAError)
        why = "it is cut short, or no file of tensors" if strange else reason(error)
        raise UserError(f"{path} cannot be read ({why}): {then}.") from None


def read_arrays(path, then=ANEW):
    """The arrays of a `.npz`, `{name: array}`; as `read_tensors`, nothing in it is executed."""
    try:
        _check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise UserError(f"{path} cannot be read ({reason(error)}): {then}.") from None


def _check_zip(file):
    """Raises ValueError for an archive that unpacks to more than `LARGEST`, or with a wrong CRC-32."""
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
        if bad := archive.testzip():  # which torch does not check
            raise ValueError(f"{bad} in it is damaged")


def looks_like_html(head):
    """Whether the first bytes of a file are those of a web page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


@contextmanager
def locked(path, wait=True):
    """Holds a file or folder for this process alone until the block, or the process, ends, however it ends.

    The lock is a file in `.locks` beside `path`, which need not exist. What a killed process left unfinished
    is removed. Raises Busy where another process holds it and this one does not wait, and UserError where the
    folder cannot be written.
    """
    path = Path(path)
    file = path.parent / ".locks" / f"{path.name}.lock"
    lock = filelock.FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            holder = f"{file.read_text(encoding='utf-8')} is at work on {path}"
            if not wait:
                raise Busy(f"{holder}; wait for it to end.") from None
            warn(f"{holder}; waiting for it to end.")
            lock.acquire()
        file.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        for stale in (*path.parent.glob(f".{path.name}.*.part"), *path.glob(".*.part")):
            stale.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _unwritable(path, error):
    why = error.strerror or reason(error)
    return UserError(f"cannot write {path} ({why}): free some space or use another folder.")
