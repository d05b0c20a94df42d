"""Libraries that are too old to be safe, or do not belong together, are told before anything is read with them."""

import torch

from .errors import UserError

OLDEST_TORCH = (2, 10)  # before it, weights_only=True could be tricked (CVE-2025-32434, CVE-2026-24747)


def check_torch(version):
    """Raises UserError for a torch whose reader of weights is not safe."""
    if tuple(int(n) for n in version.split(".")[:2]) < OLDEST_TORCH:
        raise UserError(
            f"torch {version} cannot be trusted with files of others: install torch 2.10 or newer."
        )


def check_torchvision():
    """Raises UserError for a torchvision of another version or build than torch, which fails in its import."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        raise UserError(
            f"torch {torch.__version__} and the torchvision here do not belong together ({error}): install both anew."
        ) from None


check_torch(torch.__version__)
check_torchvision()
