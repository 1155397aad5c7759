"""Sources: a study notices that the code of ``build`` has changed, and says where."""

import functools
import importlib
import runpy
import sys

import pytest

from minnet.experiments import Log, Random, Space, StoreError, Study
from minnet.experiments.sources import sources

HELPERS = '''
"""Layers."""
import minnet as mn

def layers(units):
    return [mn.Dense(units), mn.ReLU(), mn.Dense(3)]

def unused():
    return 1
'''
PROGRAM = '''
import numpy as np
import minnet as mn
import helpers_of_build as helpers
from functools import cache

HIDDEN, TRIALS = 4, 3
KINDS = {"rule": mn.SGD()}

@cache
def data():
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (12, 2)).astype(np.float32), np.arange(12) % 3

class Noisy(mn.Callback):
    def on_epoch(self, trainer, row):
        row["noise"] = level()

def level():
    return 2.0

def build(config, seed):
    """The run."""
    net = mn.Net(helpers.layers(HIDDEN), 2, mn.SoftmaxCrossEntropy(), seed=seed)
    given = {"validation": data(), "seed": seed, "callbacks": [Noisy()]}
    return mn.Trainer(net, data(), rule=KINDS["rule"], lr=config.lr, batch_size=6, steps=2, **given)

def main():
    print(TRIALS)

if __name__ == "__main__":
    from minnet.experiments.sources import sources
    FOUND = sources(build)
'''


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Returns the program after some replacements, imported anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def changed(**replacements):
        text, helpers = PROGRAM, HELPERS
        for old, new in replacements.values():
            assert old in text + helpers
            text, helpers = text.replace(old, new), helpers.replace(old, new)
        (tmp_path / "helpers_of_build.py").write_text(helpers, encoding="utf-8")
        (tmp_path / "program_of_build.py").write_text(text, encoding="utf-8")
        for name in ("helpers_of_build", "program_of_build"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("program_of_build")

    yield changed
    for name in ("helpers_of_build", "program_of_build"):
        sys.modules.pop(name, None)


CHANGES = {
    "build": ("steps=2", "steps=2, l2=0.1"),
    "data": ("default_rng(0)", "default_rng(1)"),
    "HIDDEN": ("HIDDEN, TRIALS = 4", "HIDDEN, TRIALS = 5"),
    "KINDS": ("mn.SGD()", "mn.Momentum(0.9)"),
    "Noisy": ('row["noise"] = level()', 'row["noise"] = -level()'),
    "level": ("2.0", "3.0"),
    "layers": ("mn.ReLU()", "mn.Tanh()"),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_change_in_what_build_is_made_of_is_found_where_it_is(part, program):
    before, after = sources(program().build), sources(program(a=CHANGES[part]).build)
    assert before.keys() == after.keys()
    (name,) = (name for name in before if before[name] != after[name])
    assert name == ("helpers_of_build:layers" if part == "layers" else f"program_of_build:{part}")


def test_comments_docstrings_and_what_build_does_not_name_do_not_count(program):
    before = sources(program().build)
    assert before == sources(
        program(
            a=('"""The run."""', '"""Another text."""\n    # and a comment'),
            b=("TRIALS = 4, 3", "TRIALS = 4, 300"),
            c=("print(TRIALS)", "print(TRIALS + 1)"),
            d=("return 1", "return 2"),
        ).build
    )
    assert len(before) == len(CHANGES)


def test_a_program_has_the_same_sources_as_main_program_and_as_module(program):
    module = program()
    assert runpy.run_path(module.__file__, run_name="__main__")["FOUND"] == sources(module.build)


def test_a_store_refuses_other_code(program, tmp_path):
    space = Space(lr=Log(0.1, 1.0))
    with Study(tmp_path / "s.db", space, program().build, "val_loss") as study:
        study.run(Random(1), progress=False)
    with pytest.raises(StoreError, match=r"build program_of_build:level is \w+ in the file, \w+ here"):
        Study(tmp_path / "s.db", space, program(a=CHANGES["level"]).build, "val_loss")
    with Study(tmp_path / "s.db", space, program().build, "val_loss") as study:
        assert len(study.table) == 1


def scaled(config, seed, scale=1.0):
    return scale


class Builder:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, config, seed):
        return self.scale


def test_partial_functions_lambdas_closures_and_objects_have_sources():
    def closure(scale):
        def build(config, seed):
            return scale

        return build

    for one, other in (
        (functools.partial(scaled, scale=1.0), functools.partial(scaled, scale=2.0)),
        (lambda config, seed: 1, lambda config, seed: 2),
        (closure(1), closure(2)),
    ):
        assert sources(one) == sources(one) != sources(other)
    assert sources(Builder(1)) == sources(Builder(1))
