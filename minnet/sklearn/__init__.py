"""Networks as estimators of scikit-learn: ``Classifier`` and ``Regressor``.

They work in its pipelines, searches and cross-validation. scikit-learn is imported when one of the two names is first
asked for; ``pip install 'minnet[sklearn]'`` installs it.
"""

from importlib import import_module

__all__ = ["Classifier", "Regressor"]


def __getattr__(name: str) -> object:
    """The estimators, which need scikit-learn; an error for other names."""
    if name in __all__:
        return getattr(import_module(".estimators", __name__), name)
    raise AttributeError(f"module 'minnet.sklearn' has no attribute {name!r}; it has Classifier and Regressor")


def __dir__() -> list[str]:
    """The names that the module offers, without importing scikit-learn."""
    return [*__all__]
