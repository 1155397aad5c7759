"""A workload in PyTorch: eager or compiled, images with channels first or last, fused optimizers."""

from typing import Any

import numpy as np
import torch
from layouts import channels_first, channels_last, images_first
from torch import nn
from workloads import LEARNING_RATE, Workload

import minnet as mn


class Sum(nn.Module):
    """layers(x) + shortcut(x)."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + self.shortcut(x)


class States(nn.Module):
    """The states of a recurrent layer with one bias, or the last one: PyTorch's second bias stays 0."""

    def __init__(self, layer: mn.RNN | mn.LSTM, inputs: int) -> None:
        super().__init__()
        kind = nn.LSTM if isinstance(layer, mn.LSTM) else nn.RNN
        self.recurrent, self.last = kind(inputs, layer.units, batch_first=True), layer.last
        nn.init.zeros_(self.recurrent.bias_hh_l0).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.recurrent(x)[0]
        return states[:, -1] if self.last else states


class Attention(nn.Module):
    """What ``nn.TransformerEncoderLayer`` calls for a sequence with itself: two products around the fused attention."""

    def __init__(self, width: int, layer: mn.SelfAttention) -> None:
        super().__init__()
        self.heads, self.causal = layer.heads, layer.causal
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class Places(nn.Module):
    """Learned positions."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.empty(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.places


def module(layer: mn.Layer, in_shape: tuple[int, ...]) -> nn.Module:
    """The layer in PyTorch; names of submodules are those of minnet's layers."""
    match layer:
        case mn.Chain():
            children = layer.plan(in_shape).children
            shapes = [in_shape, *(child.plan.out for child in children)]
            return nn.Sequential(*(module(child.layer, shape) for child, shape in zip(children, shapes, strict=False)))
        case mn.Residual():
            shortcut = nn.Identity() if layer.shortcut is None else module(layer.shortcut, in_shape)
            return Sum(module(layer.layers, in_shape), shortcut)
        case mn.Dense():
            return nn.Linear(in_shape[-1], layer.units)
        case mn.Embedding():
            return nn.Embedding(layer.vocabulary, layer.width)
        case mn.RNN() | mn.LSTM():
            return States(layer, in_shape[-1])
        case mn.SelfAttention():
            return Attention(in_shape[-1], layer)
        case mn.PositionalEncoding():
            return Places(in_shape)
        case mn.LayerNorm():
            return nn.LayerNorm(in_shape[-1], layer.eps)
        case mn.GELUTanh():
            return nn.GELU(approximate="tanh")
        case mn.Conv2D():
            padding = 0 if layer.padding == "valid" else layer.padding
            return nn.Conv2d(in_shape[2], layer.filters, layer.kernel, layer.stride, padding, bias=layer.bias)
        case mn.BatchNorm():
            kind = nn.BatchNorm2d if len(in_shape) == 3 else nn.BatchNorm1d
            return kind(in_shape[-1], layer.eps, momentum=1 - layer.momentum)
        case mn.MaxPool2D():
            return nn.MaxPool2d(layer.size, layer.stride, layer.padding)
        case mn.GlobalAvgPool2D():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case mn.Flatten():
            return nn.Flatten()
        case mn.ReLU():
            return nn.ReLU()
    raise TypeError(f"peer_torch: expected a layer of the workloads; got {layer}")


# minnet's names of parameters by the kind of module and PyTorch's names.
NAMES = {"weight": "W", "bias": "b"}
NORM_NAMES = {"weight": "gamma", "bias": "beta"}
SEQUENCE_NAMES = {
    "recurrent.weight_ih_l0": "W", "recurrent.weight_hh_l0": "U", "recurrent.bias_ih_l0": "b", "places": "P",
    "into.weight": "W_in", "into.bias": "b_in", "out.weight": "W_out", "out.bias": "b_out",
}  # fmt: skip


class Torch:
    """``channels`` is "last" or "first", the place of the channels in images; ``compiled`` uses torch.compile."""

    def __init__(
        self,
        work: Workload,
        params: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        channels: str = "first",
        compiled: bool = False,
        dtype: Any = torch.float32,
    ) -> None:
        net = work.net()
        net.params = params
        self.work = work
        model = module(mn.Chain(work.layers), work.input_shape)
        self.parameters: dict[str, nn.Parameter] = {}
        self.dense: set[str] = set()  # names of weights that PyTorch keeps transposed
        for name, part in model.named_modules():
            is_norm = isinstance(part, nn.modules.batchnorm._BatchNorm | nn.LayerNorm)
            is_sequence = isinstance(part, States | Attention | Places)
            names = NORM_NAMES if is_norm else SEQUENCE_NAMES if is_sequence else NAMES
            for own, parameter in part.named_parameters(recurse=is_sequence):
                if parameter.requires_grad and not name.endswith((".into", ".out", ".recurrent")):
                    self.parameters[f"{name}.{names[own]}"] = parameter
                    if parameter.ndim == 2 and not isinstance(part, nn.Embedding | Places):
                        self.dense.add(f"{name}.{names[own]}")
        with torch.no_grad():
            for name, value in channels_first(work, net.named_parameters()).items():
                self.parameters[name].copy_(torch.from_numpy(np.array(value.T if name in self.dense else value)))
        self.model = model = model.to(dtype)
        self.x, self.y = (
            t.to(dtype) if t.is_floating_point() else t for t in map(torch.from_numpy, (images_first(x), y))
        )
        if channels == "last":
            model.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        decaying = [p for name, p in self.parameters.items() if name.endswith((".W", ".U"))]
        others = [p for name, p in self.parameters.items() if not name.endswith((".W", ".U"))]
        # In PyTorch weight_decay adds weight_decay * w to the gradient, which is the L2 penalty.
        groups = [{"params": decaying, "weight_decay": work.l2}, {"params": others}]
        if not work.l2:
            groups = [{"params": [*decaying, *others]}]
        match work.rule:
            case mn.SGD():
                self.optimizer = torch.optim.SGD(groups, LEARNING_RATE, fused=True)
            case mn.Momentum():
                self.optimizer = torch.optim.SGD(groups, LEARNING_RATE, momentum=work.rule.momentum, fused=True)
            case mn.Adam():
                betas = work.rule.beta1, work.rule.beta2
                self.optimizer = torch.optim.Adam(groups, LEARNING_RATE, betas, work.rule.eps, fused=True)
            case _:
                raise TypeError(f"peer_torch: expected a rule of the workloads; got {work.rule}")

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            scores = model(x)
            if isinstance(work.loss, mn.SquaredError):
                return nn.functional.mse_loss(scores, y)  # of one output
            return nn.functional.cross_entropy(scores.flatten(0, -2), y.flatten())

        if compiled:
            torch.compiler.reset()  # or shapes of earlier workloads count towards a limit beyond which it stays eager
        self._loss = torch.compile(loss, dynamic=False) if compiled else loss

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        self.optimizer.zero_grad()
        loss = self._loss(self.x, self.y)
        loss.backward()
        found = {}
        with torch.no_grad():
            for name, p in self.parameters.items():
                penalty = self.work.l2 if name.endswith((".W", ".U")) else 0.0
                gradient = (p.grad + penalty * p).numpy()
                found[name] = gradient.T if name in self.dense else gradient
        return loss.item(), channels_last(self.work, found)

    def step(self) -> float:
        self.optimizer.zero_grad()
        loss = self._loss(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def predict(self) -> np.ndarray:
        self.model.eval()
        return self.model(self.x).numpy()
