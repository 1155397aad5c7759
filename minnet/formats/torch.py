"""Weights of a net as a state dict of PyTorch, and back.

The names are those of ``nn.Sequential`` with the modules that correspond to the layers: what is ``"0.W"`` here is
``"0.weight"`` there. ``torch_forms`` says for each layer how its arrays are named and turned, and ``order`` which of
them are put in another order because an image is flattened.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..base import checks
from ..layers import Bidirectional
from ..layers.memory import Node
from ..net.net import Net, as_net
from .order import Order, orders
from .tensors import as_array, as_tensors, shape_of
from .torch_forms import TRACKED, Arrays, form_of

Names = Mapping[str, str]
_MOST = 6  # names of each kind that an error lists


class Part(NamedTuple):
    """The arrays of one layer: its node, its place in PyTorch's model, and what ends the names of its tensors."""

    node: Node
    place: str
    suffix: str

    def name(self, local: str) -> str:
        """Return the name of a tensor in the state dict of the whole model."""
        return f"{self.place}.{local}{self.suffix}"


def to_torch(net: Net, *, names: Names | None = None, arrays: bool = False) -> dict[str, Any]:
    """Return the weights and running statistics of a net as a state dict of PyTorch.

    ``model.load_state_dict(mn.to_torch(net))`` fills an ``nn.Sequential`` of the modules that correspond to the layers,
    with ``nn.Flatten`` for ``Flatten``. Weights of ``Dense`` are transposed, those of convolutions have the filters and
    channels first, recurrent layers have two biases, of which the second is 0 except in a GRU, and
    ``num_batches_tracked`` is ``net.step``. The rows of a ``Dense`` behind a flattened image are put in PyTorch's
    order, channels first, as are the columns of one before a ``Reshape`` into images. Layers within others have the
    names that they have here: ``"3.layers.0.weight"`` in a ``Residual``. ``ChoGRU``, a learned ``PositionalEncoding``
    and layers of your own, which PyTorch does not have, keep their names and layouts. States that go on from pass to
    pass (``streams``) are left out.

    Args:
        net: the net; it does not change.
        names: where the model has its modules, if it is no such ``nn.Sequential``: ``{"0": "conv1", "5": "fc"}`` turns
            ``"0.weight"`` into ``"conv1.weight"``. A key is the beginning of a name up to a dot, or a whole name, and
            the longest that fits is taken; ``""`` fits all.
        arrays: whether to return NumPy arrays, which needs no PyTorch, instead of tensors.

    Returns:
        Copies in the dtype of the net, by name, in the order of the layers.

    Raises:
        ImportError: PyTorch is not installed, and ``arrays`` is False.
        ValueError: ``names`` does not fit, or PyTorch has no such layer for the order of a flattened image.
    """
    checks.truth("to_torch", "arrays", arrays)
    with as_net("to_torch", net).lock:
        state = _state(net)
    renamed = _renamed("to_torch", state, names)
    copies = {renamed[name]: np.array(array, order="C") for name, array in state.items()}
    return copies if arrays else as_tensors(copies)


def from_torch(net: Net, state: Mapping[str, Any], *, names: Names | None = None) -> None:
    """Put a state dict of PyTorch into a net: ``mn.from_torch(net, model.state_dict())``.

    It is the inverse of ``to_torch``, which describes names and layouts. Nothing changes before all tensors are
    checked.

    Args:
        net: the net that takes the weights and running statistics.
        state: tensors or arrays by name, such as ``safetensors.numpy.load_file`` returns, too. They are converted to
            the dtype of the net. ``num_batches_tracked`` may be missing.
        names: where the model has its modules, as in ``to_torch``; ``formats.in_order(net, state)`` pairs them in
            their order.

    Raises:
        TypeError: ``state`` is no mapping of names, or holds something that is no dense tensor of real numbers.
        ValueError: tensors are missing, unexpected, of another shape, not finite, or below what they can be, as a
            variance below 0. The error names them.
    """
    as_net("from_torch", net)
    _check_names("from_torch", state)
    own = _state(net)
    renamed = _renamed("from_torch", own, names)
    _check(state, {renamed[name]: array.shape for name, array in own.items()})
    theirs = {name: as_array(there, state[there], net.dtype) for name, there in renamed.items() if there in state}
    found: Arrays = {}
    order = orders(net.nodes()[0])
    for part in _parts(net):
        _check_least(part, theirs, renamed)
        of_part = {local: theirs[part.name(local)] for local in _there(part, order) if local != TRACKED}
        with np.errstate(over="ignore"):  # of the sum of two biases
            arrays = form_of(part.node.layer).here(part.node, of_part)
        for k, array in _ordered(part.node, arrays, order, back=True).items():
            found[name := f"{part.node.name}.{k}"] = array
            if not np.isfinite(array).all():
                raise ValueError(
                    f"from_torch: expected tensors whose sum {name} is finite in {net.dtype}; got infinity"
                )
    with net.lock:
        for name, view in (net.named_parameters() | net.named_buffers()).items():
            if name in found:
                view[...] = found[name]


def in_order(net: Net, state: Mapping[str, Any]) -> dict[str, str]:
    """Pair the layers of a net with the modules of a state dict, both in their order, for ``names``.

    PyTorch lists modules in the order in which a class assigns them, which need not be the order in which it uses them.
    Look at the result: two layers of equal shape may be exchanged.

    Args:
        net: the net.
        state: tensors by name.

    Returns:
        Modules by the place of the layer, such as ``{"0": "conv1", "5": "fc"}``, for each layer with parameters.

    Raises:
        TypeError: ``state`` is no mapping of names.
        ValueError: the numbers of modules differ, or a module does not have the tensors of its layer.
    """
    as_net("in_order", net)
    _check_names("in_order", state)
    here: dict[str, set[str]] = {}
    order = orders(net.nodes()[0])
    for part in _parts(net):
        here.setdefault(part.place, set()).update(local + part.suffix for local in _there(part, order))
    there: dict[str, set[str]] = {}
    for name in state:
        module, _, local = name.rpartition(".")
        if module.rpartition(".")[2] == "out_proj":  # a module within attention
            module, local = module.rpartition(".")[0], f"out_proj.{local}"
        there.setdefault(module, set()).add(local)
    if len(here) != len(there):
        raise ValueError(
            f"in_order: expected {len(here)} modules with tensors, as many as layers with parameters ({_list(here)}); "
            f"got {len(there)} ({_list(there)})"
        )
    for (place, ours), (module, theirs) in zip(here.items(), there.items(), strict=True):
        if ours - {TRACKED} != theirs - {TRACKED}:
            raise ValueError(
                f"in_order: expected a module with {_list(sorted(ours))} for layer {place}; got {module} with "
                f"{_list(sorted(theirs))}"
            )
    return dict(zip(here, there, strict=True))


def _parts(net: Net) -> Iterator[Part]:
    """Yield the layers with arrays of their own, in the order of the net."""
    return (part for part in _walk(net.nodes()[0]) if _own(part.node))


def _walk(node: Node) -> Iterator[Part]:
    if isinstance(node.layer, Bidirectional):  # one module there
        ahead, back = node.children
        yield Part(ahead, node.name, "")
        yield Part(back, node.name, "_reverse")
        return
    yield Part(node, node.name, "")
    for child in node.children:
        yield from _walk(child)


def _own(node: Node) -> Arrays:
    """Return the parameters and statistics of a layer itself by name."""
    names = [p.name for p in node.plan.params] + [b.name for b in node.plan.buffers if not b.carried]
    return {name: node.arrays[name] for name in names}


def _state(net: Net) -> Arrays:
    """Return the arrays as PyTorch has them, by the names of the ``nn.Sequential``."""
    order = orders(net.nodes()[0])
    return {part.name(local): array for part in _parts(net) for local, array in _there(part, order).items()}


def _there(part: Part, order: dict[str, tuple[Order, Order]]) -> Arrays:
    """Return the arrays of a layer as PyTorch has them, by their names within the module, without the suffix."""
    return form_of(part.node.layer).there(part.node, _ordered(part.node, _own(part.node), order))


def _ordered(node: Node, arrays: Arrays, order: dict[str, tuple[Order, Order]], *, back: bool = False) -> Arrays:
    """Return arrays with their features in PyTorch's order or, if ``back``, from that order in the one here."""
    if node.name not in order:
        return arrays
    rows, columns = (None if o is None else np.argsort(o) if back else o for o in order[node.name])
    result = {}
    for name, array in arrays.items():
        if rows is not None and array.ndim == 2:  # the W of a Dense
            array = array[rows]
        result[name] = array if columns is None else array[..., columns]
    return result


def _renamed(who: str, state: Iterable[str], names: Names | None) -> dict[str, str]:
    """Return, by name in the ``nn.Sequential``, the name in the model."""
    if names is None:
        return {name: name for name in state}
    if not isinstance(names, Mapping) or not all(isinstance(word, str) for pair in names.items() for word in pair):
        raise TypeError(f'{who}: expected names as a dict of texts, such as {{"0": "conv1"}}; got {names!r}')
    used, renamed = set(), {}
    for name in state:
        fits = [key for key in names if not key or name == key or name.startswith(f"{key}.")]
        key = max(fits, key=len, default=None)
        if key is None:
            renamed[name] = name
            continue
        used.add(key)
        rest = name.removeprefix(key).lstrip(".")
        renamed[name] = ".".join(word for word in (names[key], rest) if word)
    if unused := [key for key in names if key not in used]:
        raise ValueError(f"{who}: expected keys of names as beginnings of {_list(renamed)}; got {_list(unused)}")
    if twice := sorted({name for name in renamed.values() if list(renamed.values()).count(name) > 1}):
        raise ValueError(f"{who}: expected names that differ for each tensor; got {_list(twice)} twice")
    return renamed


def _check_names(who: str, state: Any) -> None:
    """Raise TypeError for anything but a mapping whose keys are names."""
    if not isinstance(state, Mapping):
        hint = " (give model.state_dict())" if hasattr(state, "state_dict") else ""
        raise TypeError(f"{who}: expected a state dict, tensors by name; got {type(state).__name__}{hint}")
    for name in state:
        if not isinstance(name, str):
            raise TypeError(f"{who}: expected names as keys of the state dict, such as '0.weight'; got {name!r}")


def _check(state: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError that names the tensors which are missing, unexpected or of another shape."""
    missing = [f"{name} {shape}" for name, shape in expected.items() if name not in state and not _counts(name)]
    shapes = {name: shape_of(name, value) for name, value in state.items()}
    unexpected = [f"{name} {shape}" for name, shape in shapes.items() if name not in expected]
    wrong = [
        f"{name} of shape {shape}, got {shapes[name]}"
        for name, shape in expected.items()
        if shapes.get(name, shape) != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "expected": wrong}
    faults = [f"{kind}: {_list(found)}" for kind, found in kinds.items() if found]
    if faults:
        hint = ""
        if missing and unexpected:
            hint = '. names={"0": "conv1"} says which module is which layer; formats.in_order(net, state) pairs them'
        raise ValueError(f"from_torch: expected the tensors of this net's layers; {'; '.join(faults)}{hint}")


def _check_least(part: Part, theirs: Arrays, renamed: Names) -> None:
    """Raise ValueError for a value that is below what training gives: a variance or a number of batches below 0."""
    least = {buffer.name: buffer.least for buffer in part.node.plan.buffers} | {TRACKED: 0}
    for local, bound in least.items():
        name = part.name(local)
        if name in theirs and theirs[name].min(initial=np.inf) < bound:
            raise ValueError(
                f"from_torch: expected {renamed[name]} of at least {bound:g}; got {theirs[name].min():g}. No training "
                "gives less: see what has changed the state, or let the model measure it again, in train()"
            )


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == TRACKED


def _list(names: Iterable[str]) -> str:
    """Return names for an error, of many the first."""
    names = list(names)
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
