"""Packages that minnet does not install by itself: the error where one is missing names the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(who: str, package: str, name: str) -> Iterator[None]:
    """Within this context, where a package is imported, an ImportError says how to install it.

    Args:
        who: name of the caller, for the error.
        package: what is imported, as its makers write it, with the oldest version that will do.
        name: the extra of minnet that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{who}: expected {package} to be installed; got {error}. pip install 'minnet[{name}]' installs it",
            name=error.name,
        ) from error
