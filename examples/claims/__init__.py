"""Claims put to the test, by theme. Importing a module adds its claims to ``base.CLAIMS``, in this order."""

from . import gradients, sanity, watching, updates, comparison, printed, rates, range_test, ensembles, surfaces, cases  # noqa: F401, I001
from . import decay, searching, cifar  # noqa: F401
from .base import CLAIMS, Claim, Effort, Row, as_markdown

__all__ = ["CLAIMS", "Claim", "Effort", "Row", "as_markdown"]
