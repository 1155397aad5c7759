"""The cases of ``bench/kernels.py``: each library is asked for the same product."""

import math

import numpy as np
import pytest
from kernels import cases, minnet_runs, numpy_runs, torch_runs

DENSE = cases(["dense"])
SMALLEST = min((case.shape for case in DENSE), key=math.prod)


@pytest.mark.parametrize("case", DENSE, ids=str)
def test_a_dense_case_is_one_product_of_rows_and_columns(case):
    rows, inputs = case.shape
    assert case.amount == 2 * rows * inputs * case.layer.units


def test_all_positions_of_a_sequence_are_rows_of_one_product():
    assert {case.shape for case in DENSE if case.shape[0] == 32 * 128} == {(4096, 128), (4096, 512)}


@pytest.mark.parametrize("case", [case for case in DENSE if case.shape == SMALLEST], ids=lambda case: case.what)
def test_minnet_and_numpy_run_the_case(case):
    for run, _ in (*minnet_runs(case).values(), *numpy_runs(case).values()):
        result = run()
        assert result is None or np.isfinite(result).all()  # minnet writes into the arrays that it is given


FIRST = {(case.kind, case.what): case for case in reversed(cases([]))}  # of each kind and pass


@pytest.mark.torch
@pytest.mark.parametrize("case", FIRST.values(), ids=str)
def test_pytorch_runs_a_case_of_each_kind(case):
    pytest.importorskip("torch", reason="PyTorch is not installed: its kernels are not called")
    assert [run() for run, _ in torch_runs(case).values()]
