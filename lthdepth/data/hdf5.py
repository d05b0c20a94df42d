"""HDF5 files opened, read and written with every fault told in a sentence."""

import io
from contextlib import contextmanager

import h5py

from ..errors import UserError, reason
from ..files import existing, looks_like_html, replacing

LAYOUTS = (
    "the official .mat has images, depths and scenes; a cache has images_png or images_jpeg, depths with a "
    "scale, trainNdxs and testNdxs (see help(lthdepth.data.nyu))"
)


@contextmanager
def open_h5(source):
    """An HDF5 file opened for reading.

    Raises:
        UserError: no such file, another kind of file (the sentence says which), a file cut short, or (while
            it is open) a part that cannot be read.
    """
    path = existing(source)
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
        kind = "" if h5py.is_hdf5(path) else "not an HDF5 file"
        if head.startswith(b"MATLAB 5.0"):
            kind = "a MATLAB 5 file"
        if looks_like_html(head):
            kind = "a web page (HTML), perhaps to log in"
        if kind or not head:
            raise UserError(
                f"{path} is {kind if head else 'empty'}: fetch the .mat (MATLAB 7.3) or cache .h5 again."
            )
        with h5py.File(path, "r", locking=False) as file:  # many network file systems have no locks
            yield file
    except (OSError, RuntimeError) as error:  # h5py raises the latter for damage in what links the parts
        if getattr(error, "errno", None):
            raise UserError(f"{path} cannot be read ({reason(error)}): give a readable file.") from None
        what, size = "cut short" if "truncated" in str(error) else "damaged", path.stat().st_size
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
        file: open `h5py.File`; name: of the dataset.
        shape: the shape it must have; None stands for any length of at least 1.
        dtypes: names of the dtypes allowed (`"object"` for strings, references and variable lengths).

    Raises:
        UserError: it is missing, or of another shape or dtype.
    """
    part = file.get(name)
    wanted = f"{' or '.join(dtypes)} of {' x '.join('N' if n is None else str(n) for n in shape)}"
    if not isinstance(part, h5py.Dataset):
        raise UserError(f"{file.filename} has no dataset {name} ({wanted}); {LAYOUTS}.")
    have, dtype = part.shape or (), str(part.dtype)
    fits = len(have) == len(shape) and all(n >= 1 if m is None else n == m for n, m in zip(have, shape))
    if not fits or dtype not in dtypes:
        raise UserError(f"{file.filename} holds {name} as {dtype} {have}, not as {wanted}; {LAYOUTS}.")
    return part
