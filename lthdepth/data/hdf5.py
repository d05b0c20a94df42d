"""HDF5 files read and written with every fault told in a sentence."""

import io
from contextlib import contextmanager
from pathlib import Path

import h5py

from ..errors import UserError
from ..files import LARGEST, replacing


@contextmanager
def open_h5(path):
    """An HDF5 file opened for reading, whatever is wrong with it told in a sentence.

    Raises:
        UserError: no such file, a folder, an empty file, a web page, a MATLAB 5 file, another kind of file,
            a file cut short, or (while it is open) a part that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the file itself.")
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"There is no file {path}: check its name and folder.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from None
    if size == 0:
        raise UserError(f"{path} is empty: copy or download it again.")
    if looks_like_html(head):
        raise UserError(f"{path} is a web page (HTML), not data: read what the server said, fetch it again.")
    if head.startswith(b"MATLAB 5.0"):
        raise UserError(f"{path} is a MATLAB 5 file, but the official data set is MATLAB 7.3 (HDF5).")
    if not h5py.is_hdf5(path):
        raise UserError(f"{path} is not an HDF5 file: give the official .mat (MATLAB 7.3) or a cache .h5.")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        what = "is cut short" if "truncated" in str(error) else "is damaged"
        raise UserError(f"{path} {what} (it has {size:,} bytes): copy or download it again.") from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError):  # h5py raises the latter for damage in what links the parts
            raise UserError(f"{path} is damaged in some part: copy or download it again.") from None


@contextmanager
def writing(path):
    """A new HDF5 file that takes the place of `path` whole or not at all, as `files.replacing`.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with replacing(path) as part, _Disk(part, "r+b") as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.error:
                raise disk.error


class _Disk(io.FileIO):
    """A file that keeps to itself that it cannot be written: HDF5 1.14 ends in a segmentation fault where it is told."""

    error = None

    def write(self, content):
        content = memoryview(content)
        size = len(content)
        try:
            while content:
                content = content[super().write(content) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size=None):
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error


def whole(parts, path):
    """Datasets of the open file `path`, `{name: h5py.Dataset}`, as arrays in memory.

    Raises:
        UserError: they unpack to more than `files.LARGEST` bytes in all, or one lies in another file.
    """
    if sum(part.nbytes for part in parts.values()) > LARGEST:
        raise UserError(f"{path} unpacks to more than {LARGEST >> 20} MiB: that is nothing of ours.")
    for name, part in parts.items():
        if part.external or part.is_virtual:
            raise UserError(f"{path} keeps {name} in another file, which is not read: give one whole file.")
    return {name: part[()] for name, part in parts.items()}


def looks_like_html(head):
    """Whether the first bytes of a file are those of a web page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def dataset(file, name, shape, *dtypes):
    """The dataset `name` of an open file, checked.

    Args:
        file: open `h5py.File`.
        name: its name.
        shape: the shape it must have; None stands for any length of at least 1.
        dtypes: names of the dtypes allowed (`"object"` for strings, references and variable lengths).

    Raises:
        UserError: it is missing, damaged, of another shape or dtype, or lies in another file.
    """
    try:
        found = file[name] if name in file else None
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{file.filename} has no dataset {name}: it is not in the expected layout.")
        actual, dtype = found.shape, str(found.dtype)
        if found.file.filename != file.filename or found.external or found.is_virtual:
            raise UserError(
                f"{file.filename} keeps {name} in another file, which is not read: give one whole file."
            )
    except (KeyError, RuntimeError, TypeError, ValueError):
        raise UserError(f"{file.filename} is damaged at {name}: copy or download it again.") from None
    fits = (
        actual is not None
        and len(actual) == len(shape)
        and all(have >= 1 if want is None else have == want for have, want in zip(actual, shape))
    )
    if not fits or dtype not in dtypes:
        wanted = " x ".join("N" if n is None else str(n) for n in shape)
        raise UserError(
            f"{file.filename} holds {name} as {dtype} {actual}, not as {' or '.join(dtypes)} of "
            f"{wanted}: it is not in the expected layout."
        )
    return found
