"""The names that ``minnet`` offers: what ``dir`` lists, and where everything else is."""

import re
from pathlib import Path

import pytest

import minnet as mn

ROOT = Path(__file__).parents[2]

LISTED = {
    # a network
    *("Net", "Layer", "Loss", "Chain", "Residual", "initializers", "losses"),
    *("Dense", "Conv2D", "ConvTranspose2D", "Flatten", "Reshape", "Slice"),
    *("Embedding", "TiedEmbedding", "PatchEmbedding", "SelfAttention", "CrossAttention", "PositionalEncoding"),
    *("RNN", "LSTM", "GRU", "ChoGRU", "InitialState", "Bidirectional"),
    "generate",
    *("MaxPool2D", "AvgPool2D", "GlobalAvgPool2D", "Upsample", "ZeroPad"),
    *("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "Dropout", "SpatialDropout"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "GELUTanh", "SiLU", "Softplus", "Sigmoid", "Tanh", "Maxout"),
    *("SoftmaxCrossEntropy", "MulticlassHinge", "SquaredHinge", "Logistic"),
    *("SquaredError", "AbsoluteError", "Huber"),
    # rules
    *("Rule", "Optimizer", "Group", "rules", "schedules", "landscapes"),
    *("SGD", "Momentum", "Nesterov", "NesterovLookAhead", "Adagrad", "Adadelta"),
    *("RMSprop", "RMSpropMomentum", "RMSpropCentred", "RMSpropCentredMomentum"),
    *("Adam", "AMSGrad", "AdaMax", "NAdam", "RAdam", "Lion", "ScheduleFreeSGD", "ScheduleFreeAdamW"),
    *("LARS", "LAMB", "Adafactor", "Muon", "LBFGS"),
    *("LookAhead", "Accumulate", "CoupledDecay", "GradientNoise"),
    *("ClipValue", "ClipNorm", "ClipTensorNorm", "AdaptiveClip"),
    # a run
    *("fit", "Trainer", "History", "Callback", "Checkpoint", "EarlyStopping", "KeepBest"),
    *("HalveOnStall", "ReduceOnPlateau", "DivergenceError", "CheckpointError", "load_weights", "save_weights"),
    *("from_torch", "to_onnx", "to_torch", "precompile"),
    *("data", "datasets", "get_num_threads", "set_num_threads"),
    # checks
    *("check_net", "check_layer", "check_loss", "check_gradient", "check_backward", "check_module"),
    # rooms with everything else
    *("averaging", "benchmark", "diagnostics", "distributed", "ensemble", "experiments", "formats", "gradcheck"),
    *("layers", "plots", "sklearn", "training"),
    "__version__",
}

# Short names that dir does not list, by the room that lists them.
BY_ROOM = {
    "averaging": {"Average", "EMA", "LAWA", "PolyakRuppert", "SWA", "SWAG", "refreshed_buffers"},
    "diagnostics": {"RangeTest", "lr_range_test", "preflight"},
    "ensemble": {
        *("Comparison", "Ensemble", "Snapshots", "calibration_error", "compare_averages", "mixture_weights"),
        "select_greedily",
    },
    "gradcheck": {
        *("GradientCheck", "LayerCase", "StepSweep", "TensorCheck", "compare_precisions", "cs231n", "layer_cases"),
        *("numerical_gradient", "relative_error"),
    },
    "layers": {"Buffer", "Param", "Plan", "Scratch", "Tensor"},
    "net": {"Objective"},
    "training": {"Record"},
}


def test_dir_lists_what_a_run_needs_and_the_rooms():
    assert set(dir(mn)) == LISTED


def test_every_other_short_name_is_that_of_a_room():
    assert set(mn.__all__) - LISTED == set().union(*BY_ROOM.values())
    for room, names in BY_ROOM.items():
        for name in names:
            assert getattr(mn, name) is getattr(getattr(mn, room), name)
            assert name in getattr(mn, room).__all__


MADE_UP = {"Scale"}  # the layer that docs/changing-minnet.md adds as an example
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.py")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_that_pages_and_examples_use_exist(page):
    text = page.read_text(encoding="utf-8")
    used = set(re.findall(r"(?<![\w.`/])mn\.([A-Za-z_]\w*)", text))
    assert {name for name in used - MADE_UP if not hasattr(mn, name)} == set()
