"""HDF5 files opened, read and written with every fault told in a sentence."""

import io
from contextlib import contextmanager
from pathlib import Path

import h5py

from ..errors import UserError
from ..files import LARGEST, looks_like_html, replacing

LAYOUTS = (
    "the official .mat has images, depths and scenes; a cache has images_png or images_jpeg, depths with a "
    "scale, trainNdxs and testNdxs (see help(lthdepth.data.nyu))"
)


@contextmanager
def open_h5(path):
    """An HDF5 file opened for reading.

    Raises:
        UserError: no such file, another kind of file (the sentence says which), a file cut short, or (while
            it is open) a part that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}: check its name and folder.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a readable file.") from None
    kinds = {
        "empty": not head,
        "a web page (HTML), perhaps to log in": looks_like_html(head),
        "a MATLAB 5 file": head.startswith(b"MATLAB 5.0"),
        "not an HDF5 file": not h5py.is_hdf5(path),
    }
    for kind, applies in kinds.items():
        if applies:
            raise UserError(f"{path} is {kind}: fetch the .mat (MATLAB 7.3) or cache .h5 again.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:  # h5py raises the latter for damage in what links the parts
        what = "cut short" if "truncated" in str(error) else "damaged"
        size = Path(path).stat().st_size
        raise UserError(f"{path} is {what} (it has {size:,} bytes): copy or download it again.") from None


@contextmanager
def writing(path):
    """A new HDF5 file that takes the place of `path` whole or not at all, as `files.replacing`.

    It is built in memory, as HDF5 itself may crash where the disk is full.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        yield file
    with replacing(path) as part:
        part.write_bytes(buffer.getbuffer())


def dataset(file, name, shape, *dtypes):
    """The dataset `name` of an open file, checked.

    Args:
        file: open `h5py.File`.
        name: its name.
        shape: the shape it must have; None stands for any length of at least 1.
        dtypes: names of the dtypes allowed (`"object"` for strings, references and variable lengths).

    Raises:
        UserError: it is missing, or of another shape or dtype.
    """
    part = file.get(name)
    wanted = f"{' or '.join(dtypes)} of {' x '.join('N' if n is None else str(n) for n in shape)}"
    if not isinstance(part, h5py.Dataset):
        raise UserError(f"{file.filename} has no dataset {name} ({wanted}); {LAYOUTS}.")
    actual, dtype = part.shape or (), str(part.dtype)
    fits = len(actual) == len(shape) and all(
        have >= 1 if want is None else have == want for have, want in zip(actual, shape)
    )
    if not fits or dtype not in dtypes:
        raise UserError(f"{file.filename} holds {name} as {dtype} {actual}, not as {wanted}; {LAYOUTS}.")
    return part


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
