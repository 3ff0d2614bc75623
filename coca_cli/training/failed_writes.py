"""A write that fails while a model is trained, mostly because the disk is full, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from coca_cli.errors import CocaError


@contextmanager
def writing(what: str) -> Iterator[None]:
    """The block writes, and does nothing else that can fail.

    Args:
        what: Is written, for the message.

    Raises:
        CocaError: It cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, CocaError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise CocaError(
            f"{what} cannot be written ({reason}); checkpoints that are there stay as they are. Make room and run the "
            "same command again, without --overwrite: it goes on from the last of them"
        ) from None
