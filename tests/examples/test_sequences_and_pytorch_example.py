"""The example carries weights of sequences to PyTorch and back."""

import pytest


def test_both_networks_have_the_same_scores_there_and_back(run_example):
    pytest.importorskip("torch")
    done = run_example("sequences_and_pytorch.py", "--epochs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["LSTM", "transformer"]
