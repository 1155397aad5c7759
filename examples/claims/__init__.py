"""Claims put to the test, by theme. Importing a module adds its claims to ``base.CLAIMS``, in this order."""

from . import gradients, sanity, updates, comparison, printed, rates, range_test, cases  # noqa: F401, I001
from .base import CLAIMS, Claim, Row, as_markdown
from . import gradients, sanity, watching, updates, cases  # noqa: F401, I001
from . import gradients, sanity, updates, ensembles, cases  # noqa: F401, I001
from .base import CLAIMS, Claim, Row

__all__ = ["CLAIMS", "Claim", "Row", "as_markdown"]
