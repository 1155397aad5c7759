"""A net as a file of ONNX, which other runtimes evaluate.

``onnx_layers`` says for each layer which operators of ONNX compute it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..base.extras import extra
from ..net.net import Net, as_net
from ..storage.files import check_folder, write_whole
from .onnx_graph import OPSET, Graph, Value
from .onnx_layers import exported

_IR = 8  # of the opset: the oldest runtime that has it reads the file


def to_onnx(net: Net, path: str | Path) -> None:
    """Write a net to a file of ONNX, for evaluation passes.

    The graph has one input, ``"input"``, of shape ``("batch", *input_shape)``, and one output, ``"output"``, of shape
    ``("batch", *output_shape)``, for any number of samples. Images have their channels last, as here, in the input and
    in the output; they are transposed inside, where ONNX has channels first. Numbers are float32 and words int64.
    Weights and running statistics are constants. Dropout is left out, states that go on from pass to pass start from 0,
    and a loss is no part of the graph: the output is what ``predict`` returns, up to rounding in float32.

    Args:
        net: the net; it does not change.
        path: path of the file, which is written completely or not at all.

    Raises:
        ImportError: onnx is not installed (``pip install 'minnet[onnx]'``).
        ValueError: the net has a layer that is not exported: a layer of your own, or a recurrent layer with padding,
            for whose steps ONNX has no operator.
        OSError: the file cannot be written.
    """
    with extra("to_onnx", "onnx 1.17 or newer", "onnx"):
        import onnx
    as_net("to_onnx", net)
    check_folder(path)
    graph = Graph()
    with net.lock:
        output = graph.last(exported(graph, net.nodes()[0], Value(Graph.INPUT, False)))
        graph.add("Identity", output.name, output=Graph.OUTPUT)
    kind = onnx.TensorProto.INT64 if net.vocabulary else onnx.TensorProto.FLOAT
    ends: list[Any] = [
        onnx.helper.make_tensor_value_info(name, of, ["batch", *shape])
        for name, of, shape in (
            (Graph.INPUT, kind, net.input_shape),
            (Graph.OUTPUT, onnx.TensorProto.FLOAT, net.output_shape),
        )
    ]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, inputs, outputs, **options) for op, inputs, outputs, options in graph.operators],
            "minnet",
            ends[:1],
            ends[1:],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in graph.constants.items()],
        ),
        producer_name="minnet",
        ir_version=_IR,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    write_whole(path, model.SerializeToString())
