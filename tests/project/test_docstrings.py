"""What docstrings of public names must state: shapes and parameters of layers, arguments and results of functions."""

import inspect
import re
import runpy
from pathlib import Path
from typing import NoReturn

import overrides
import pytest
import reference

import minnet as mn

pytest.importorskip("sklearn", reason="scikit-learn is not installed: the reference, which needs it, is not tested")

TABLE = Path(__file__).parents[1] / "layers" / "test_layers.py"
LAYERS = runpy.run_path(str(TABLE))["LAYERS"]
SUBJECTS = {path: thing for room in reference.ROOMS for path, thing in reference.subjects(room)}
CLASSES = {path: thing for path, thing in SUBJECTS.items() if inspect.isclass(thing)}
FUNCTIONS = {path: thing for path, thing in SUBJECTS.items() if inspect.isfunction(thing)}


def paragraph(doc, label):
    """The text of a paragraph such as ``Shapes: ...``, whose later lines are indented; "" if there is none."""
    found = re.search(rf"^{label}: (.*(?:\n +\S.*)*)", inspect.cleandoc(doc), re.MULTILINE)
    return found[1] if found else ""


def section(doc, name):
    """The lines of a section such as ``Args:``; None if there is none."""
    found = re.search(rf"^{name}:\n((?: +.*\n?|\n)+)", inspect.cleandoc(doc), re.MULTILINE)
    return found[1] if found else None


# Layers ---------------------------------------------------------------------------------------------------------------


def sides(text):
    """The shapes that a paragraph ``Shapes`` states for input and output, as text."""
    found, at = {"input": [], "output": []}, []
    for word in re.findall(r"input and output|input|output|\(n\b[^)]*\)", text):
        if word.startswith("("):
            for side in at:
                found[side].append(word)
        else:
            at = [side for side in found if side in word]
    return found


def aligned(stated, shape):
    """Pairs of a stated axis, such as ``2 * units``, and its length; None if the numbers of axes differ."""
    words = [word.strip() for word in stated.strip("()").split(",") if word.strip()]
    if "..." not in words:
        return list(zip(words, shape, strict=True)) if len(words) == len(shape) else None
    before, after = words[: words.index("...")], words[words.index("...") + 1 :]
    if len(before) + len(after) > len(shape):
        return None
    behind = shape[len(shape) - len(after) :]
    return [*zip(before, shape, strict=False), *zip(after, behind, strict=True)]


def fits(stated, shape, names):
    """Whether a shape is as stated, as far as the names in it are known."""
    pairs = aligned(stated, shape)
    return pairs is not None and all(value(word, names) in (None, length) for word, length in pairs)


def value(word, names):
    try:
        return eval(word, {}, names)
    except NameError:
        return None


def planned(plan, prefix=""):
    """Names and shapes of all parameters and buffers of a plan, except for states that go on."""
    yield from ((prefix + param.name, param.shape) for param in plan.params)
    yield from ((prefix + buffer.name, buffer.shape) for buffer in plan.buffers if not buffer.carried)
    for child in plan.children:
        yield from planned(child.plan, f"{prefix}{child.name}.")


def stated(text):
    """Names and shapes that a paragraph ``Trained`` states."""
    return re.findall(r"(?<!\w)([A-Za-z][\w.]*) (\([^)]*\))", text)


def complaints(doc, layer, in_shape):
    """What the docstring of a layer lacks or has wrong, for one instance and one shape."""
    plan = layer.plan(in_shape)
    shapes, names = sides(paragraph(doc, "Shapes")), dict(vars(layer))
    wrong = [side for side, words in shapes.items() if not words]
    if wrong:
        return wrong
    taken = [words for words in shapes["input"] if fits(words, (3, *in_shape), names)]
    for word, length in aligned(taken[0], (3, *in_shape)) if taken else []:
        if word.isidentifier():
            names.setdefault(word, length)
    wrong += [] if taken else ["input"]
    wrong += [] if any(fits(words, (3, *plan.out), names) for words in shapes["output"]) else ["output"]
    told = dict(stated(paragraph(doc, "Trained")))
    own = [(name, shape) for name, shape in planned(plan) if "." not in name]
    return wrong + [name for name, shape in own if name not in told or not fits(told[name], shape, names)]


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=[f"{layer}-{shape}" for layer, shape in LAYERS])
def test_a_layer_states_its_shapes_and_parameters(layer, in_shape):
    assert complaints(type(layer).__doc__, layer, in_shape) == []


def test_every_public_layer_is_in_the_table_and_states_no_parameter_that_it_has_not():
    layers = {kind for kind in CLASSES.values() if issubclass(kind, mn.Layer)} - {mn.Layer}
    assert layers == {type(layer) for layer, _ in LAYERS}
    for kind in layers:
        plans = [layer.plan(shape) for layer, shape in LAYERS if type(layer) is kind]
        known = {name for plan in plans for name, _ in planned(plan)}
        told = {name for name, _ in stated(paragraph(kind.__doc__, "Trained"))}
        assert told - known == set(), kind


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        (("Shapes: ", "Form: "), ["input", "output"]),
        ((", output (n, units);", ";"), ["output"]),
        (("input (n, inputs)", "input (n, rows, inputs)"), ["input"]),
        (("output (n, units)", "output (n, inputs)"), ["output"]),
        (("W (inputs, units)", "W (units, inputs)"), ["W"]),
        (("; b (units,)", ""), ["b"]),
    ],
)
def test_an_omission_or_a_mistake_is_seen(mistake, complaint):
    doc = mn.Dense.__doc__.replace("; for sequences input (n, time, inputs), output (n, time, units)", ";")
    assert complaints(doc, mn.Dense(4), (5,)) == []
    assert mistake[0] in doc
    assert complaints(doc.replace(*mistake), mn.Dense(4), (5,)) == complaint


# Functions and methods ------------------------------------------------------------------------------------------------


def unsaid(function, doc):
    """What the docstring of a function lacks: arguments by name, and the result."""
    signature = inspect.signature(function)
    names = {name for name in signature.parameters if name not in ("self", "cls")}
    told = re.findall(r"^ {4}(\w[\w, *]*):", section(doc, "Args") or "", re.MULTILINE)
    lacking = sorted(names - {name.strip(" *") for words in told for name in words.split(",")})
    if "others" in told:  # the arguments of another function, which is named there
        lacking = []
    says = section(doc, "Returns") or section(doc, "Yields")
    return lacking + ["Returns"] * (signature.return_annotation not in (None, NoReturn) and not says)


def test_every_public_function_states_arguments_and_result():
    assert len(FUNCTIONS) > 90
    lacking = {path: unsaid(function, function.__doc__) for path, function in FUNCTIONS.items()}
    assert {path: names for path, names in lacking.items() if names} == {}


def test_an_argument_or_a_result_left_out_is_seen():
    doc = "Return the number.\n\nArgs:\n    a, b: numbers.\n\nReturns:\n    The number.\n"

    def function(a: int, b: int, *more: int) -> int: ...

    assert unsaid(function, doc.replace("a, b", "a, b, more")) == []
    assert unsaid(function, doc) == ["more"]
    assert unsaid(function, "Return the number.") == ["a", "b", "more", "Returns"]


def methods(kind):
    """The public methods of a class with docstrings of their own."""
    for name, thing in vars(kind).items():
        function = getattr(thing, "__func__", thing)  # of a class method
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield name, function


def returned(doc):
    """What the summary says of a method already; ``Return the number of steps.`` needs no section."""
    return {"Returns"} if doc.startswith(("Return ", "Yield ")) else set()


def test_every_method_that_overrides_none_states_arguments_and_result():
    kinds = {base for kind in CLASSES.values() for base in kind.__mro__ if base.__module__.startswith("minnet.")}
    own = {
        f"{kind.__name__}.{name}": function
        for kind in kinds
        for name, function in methods(kind)
        if not any(getattr(vars(base).get(name), "__doc__", None) for base in kind.__mro__[1:])
    }
    assert len(own) > 300
    lacking = {path: set(unsaid(f, f.__doc__)) - returned(f.__doc__) for path, f in own.items()}
    assert {path: names for path, names in lacking.items() if names} == {}


def test_methods_that_others_override_state_arguments_and_result():
    """Their docstrings are all that the reference says of the methods that override them."""
    bases = {overrides.overridden(kind, name) for kind in CLASSES.values() for name in vars(kind)} - {None}
    lacking = {
        f"{base.__name__}.{name}": what
        for base in bases
        for name, function in methods(base)
        if (what := set(unsaid(function, function.__doc__)) - returned(function.__doc__))
    }
    assert lacking == {}


def test_a_method_without_a_docstring_is_shown_with_that_of_the_method_that_it_overrides():
    found = 0
    for path, kind in CLASSES.items():
        for name, thing in vars(kind).items():
            if name.startswith("_") or not (inspect.isfunction(thing) or isinstance(thing, property)) or thing.__doc__:
                continue
            base = overrides.overridden(kind, name)
            lines = [f"{path}.{name} without a docstring"]
            overrides.shorten(None, "method", f"{path}.{name}", thing, None, lines)
            assert lines[0] == inspect.getdoc(thing if base is None else vars(base)[name]).splitlines()[0]
            found += 1
    assert found > 300
    assert overrides.summary(mn.Layer, "forward") == [
        "Compute the output.",
        "",
        "Overrides :meth:`minnet.Layer.forward`.",
        "",
    ]
