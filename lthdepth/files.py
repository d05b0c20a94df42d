"""Files that are either whole or absent."""

import io
import json
import os
import tempfile
from pathlib import Path

import torch

from .errors import UserError


def write_atomic(path, content):
    """Write a file so that a crash leaves the old one or the new one, never a half.

    A temporary file in the same folder is written, flushed to disk and renamed over the target.

    Args:
        path: target; its folder is made where needed.
        content: bytes; text; for `.json` what json writes; otherwise what `torch.save` writes.

    Raises:
        UserError: the folder is not writable or the disk is full.
    """
    path = Path(path)
    if path.suffix == ".json" and not isinstance(content, str | bytes):
        content = json.dumps(content, indent=1) + "\n"
    if isinstance(content, str):
        content = content.encode()
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        content = buffer.getbuffer()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}.") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
