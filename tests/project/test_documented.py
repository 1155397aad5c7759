"""Every public name has a place in the reference and says what it is, and what its arguments are."""

import inspect
import re

import docstrings
import pytest
import reference

import minnet as mn

pytest.importorskip("sklearn", reason="scikit-learn is not installed: the reference, which needs it, is not tested")

SUBJECTS = {path: thing for room in reference.ROOMS for path, thing in reference.subjects(room)}
PLAIN = {name for name in mn.__all__ if inspect.ismodule(getattr(mn, name))}


def said(thing):
    """The docstring of a thing itself, not one that it inherits."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return "" if own is None or (inspect.isclass(thing) and own.startswith(f"{thing.__name__}(")) else own


def documented(kind, name):
    """Whether a method or property, or what it overrides, has a docstring."""
    return any(name in vars(base) and inspect.getdoc(vars(base)[name]) for base in kind.__mro__)


def test_every_name_of_minnet_is_in_the_reference():
    things = {id(thing) for thing in SUBJECTS.values()}
    assert {name for name in set(mn.__all__) - PLAIN if id(getattr(mn, name)) not in things} == set()


def test_every_room_is_in_the_reference():
    rooms = {module for _, module, _ in reference.ROOMS.values()}
    public = {getattr(mn, name).__name__ for name in dir(mn) if inspect.ismodule(getattr(mn, name))}
    assert public <= rooms


def test_every_public_name_and_method_says_what_it_is():
    assert [path for path, thing in SUBJECTS.items() if not said(thing).strip()] == []
    kinds = {path: kind for path, kind in SUBJECTS.items() if inspect.isclass(kind)}
    methods = [
        (path, name)
        for path, kind in kinds.items()
        for name, thing in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property))
    ]
    assert len(methods) > 300
    assert [f"{path}.{name}" for path, name in methods if not documented(kinds[path], name)] == []


def test_paths_of_the_reference_are_those_that_users_write():
    assert {"minnet.Dense", "minnet.schedules.Cosine", "minnet.rules.conventions", "minnet.Trainer"} <= set(SUBJECTS)


def test_the_pages_name_every_subject_once():
    seen = set()
    text = "\n".join(reference.page(room, seen) for room in reference.ROOMS)
    described = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", text, re.MULTILINE)
    assert len(described) == len(set(described)) == len({id(thing) for thing in SUBJECTS.values()})


def test_docstrings_are_rewritten_for_the_site_and_nothing_is_lost():
    written = """Say |a| * b.

    p -= lr * g

* a point: |a|
  goes on

Args:
    beta: share of ``m * |x|`` that is *kept*.

State: ``mean`` is ``m *
    g`` here.
Source: a book."""
    expected = r"""Say \|a\| \* b.

::

    p -= lr * g

* a point: \|a\|
  goes on

Args:
    beta: share of ``m * |x|`` that is *kept*.


**State:** ``mean`` is ``m *
g`` here.

**Source:** a book."""
    assert docstrings.rewritten(written.splitlines()) == expected.splitlines()
