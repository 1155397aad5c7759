"""A branch goes on from a state with the hyper-parameters of the call, and refuses a state that it cannot take over."""

import numpy as np
import pytest
import stress_resume as stress
from resuming import checksum, whole, wider
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive
from minnet.training.saved import Saved

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")

Piecewise = mn.schedules.Piecewise


class KeepAt(mn.Callback):
    """Keeps the state at the given steps."""

    bystander = True

    def __init__(self, *steps):
        self.steps, self.states = steps, {}

    def between_steps(self, trainer):
        if trainer.step in self.steps:
            self.states[trainer.step] = trainer.state()


def state_at(case, step):
    keeper = KeepAt(step)
    case.start(keeper).run(progress=False)
    return keeper.states[step]


@pytest.mark.parametrize("name", [name for name in CASES if name not in stress.RULES] + ["ScheduleFreeSGD", "LAMB"])
def test_a_branch_with_the_same_hyperparameters_has_the_bits_of_the_whole_run(name):
    case = CASES[name]
    trainer = mn.Trainer.branch(state_at(case, 7), case.net(), case.data(), **case.given())
    assert trainer.step == 7
    trainer.run(progress=False)
    assert result(trainer) == result(whole(case))


# Other hyper-parameters --------------------------------------------------------------------------------------

KEPT = {"batch_size": 8, "seed": 4, "augment": mn.data.Augment(flip=True, crop=1), "steps": 21}
SWITCHES = [5, 13]  # amid an epoch, and at another step of one
RATES, DECAYS, FACTORS, CLIPS = [0.02, 0.005, 0.03], [0.0, 0.3, 0.01], [0.9, 0.5, 0.8], [0.5, 2.0, 1.0]
KINDS = {  # rule of one of the factors
    "Adam": lambda beta: mn.Adam(beta1=beta),
    "Momentum": lambda momentum: mn.Momentum(momentum),
    "ScheduleFreeAdamW": lambda beta: mn.ScheduleFreeAdamW(beta1=beta),
    "LookAhead": lambda share: mn.LookAhead(mn.Adam(), k=4, alpha=share),
    "Accumulate": lambda momentum: mn.Accumulate(mn.Nesterov(momentum), k=3),
    "CoupledDecay": lambda strength: mn.CoupledDecay(mn.Adam(), strength),
    "Muon": lambda momentum: mn.Muon(momentum=momentum),
    "NAdam": lambda beta: mn.NAdam(beta1=beta),
}


def hypers(kind, lr, decay, factor, clip):
    groups = [mn.Group(lambda tensor: tensor.name == "0.W", lr_factor=factor)]
    return {"rule": KINDS[kind](factor), "lr": lr, "weight_decay": decay, "clip_norm": clip, "groups": groups}


@pytest.mark.parametrize("kind", KINDS)
def test_branches_have_the_bits_of_one_run_with_schedules(kind):
    """With batch normalization, dropout, augmentation; one switch makes weight decay 0 and not 0."""
    decays = DECAYS if not KINDS[kind](0.9).number_names() else [0.1, 0.3, 0.01]  # such rules keep numbers by run
    plain = [Piecewise(SWITCHES, values) for values in (RATES, decays, FACTORS, CLIPS)]
    expected = mn.Trainer(stress.convolutional(), stress.images(), **KEPT, **hypers(kind, *plain))
    expected.run(progress=False)
    state = None
    for step, given in zip([*SWITCHES, None], zip(RATES, decays, FACTORS, CLIPS, strict=True), strict=True):
        net, given = stress.convolutional().twin(), hypers(kind, *given)
        keeper = KeepAt(step)
        if state is None:
            trainer = mn.Trainer(net, stress.images(), **KEPT, **given, callbacks=[keeper])
        else:
            trainer = mn.Trainer.branch(state, net, stress.images(), **given, callbacks=[keeper])
        trainer.run(progress=False)
        state = keeper.states.get(step)
    assert np.array_equal(trainer.net.params, expected.net.params)
    assert np.array_equal(trainer.net.buffers, expected.net.buffers)
    assert np.array_equal(trainer.optimizer.state, expected.optimizer.state)
    assert trainer.history["loss"] == expected.history["loss"]


def test_no_hyperparameter_comes_from_the_state():
    """Those that the call leaves out have their defaults."""
    given = {"lr": 0.02, "rule": mn.Momentum(0.5), "weight_decay": 0.3, "clip_norm": 0.1}
    keeper = KeepAt(9)
    net = stress.mlp()
    mn.Trainer(net, stress.flat_data(), batch_size=8, epochs=3, **given, callbacks=[keeper]).run(progress=False)
    freer = mn.Net(net.layers.layers, 6, mn.SoftmaxCrossEntropy(), seed=3)
    branch = mn.Trainer.branch(keeper.states[9], freer, stress.flat_data(), rule=mn.Momentum(), lr=0.3)
    assert float(branch.lr(9)) == 0.3
    assert branch.optimizer.rule == mn.Momentum()
    assert (branch.optimizer.weight_decay, branch.optimizer.clip_norm) == (0.0, None)
    assert (branch.net.l2, branch.net.max_norm) == (0.0, None)
    record = next(branch)
    assert (record.step, record.lr) == (10, 0.3)


def test_a_longer_branch_has_the_bits_of_a_longer_run():
    case = CASES["Adam"]
    longer = mn.Trainer(case.net(), case.data(), batch_size=8, steps=60, **case.given())
    longer.run(progress=False)
    branch = mn.Trainer.branch(state_at(case, 7), case.net(), case.data(), steps=60, **case.given())
    branch.run(progress=False)
    assert result(branch) == result(longer)


def test_controllers_averages_and_histories_go_on():
    case = CASES["plateau"]
    state = state_at(case, 20)
    about = Saved.of(state)
    assert about.get("lr_factor") < 1
    again = mn.ReduceOnPlateau(patience=5, factor=0.1)
    branch = mn.Trainer.branch(state, case.net(), case.data(), **case.given() | {"callbacks": [again], "lr": 0.1})
    assert branch.lr_factor == again.lr_factor == about.get("lr_factor")
    assert len(branch.history) == 3
    assert next(branch).lr == 0.1 * again.lr_factor


def test_a_branch_is_another_run_and_goes_on_where_the_first_was_to_stop(tmp_path):
    case = CASES["early stopping"]
    trainer = case.start(mn.Checkpoint(tmp_path))
    trainer.run(progress=False)
    assert trainer.step < trainer.steps
    stopping = mn.EarlyStopping(patience=100)
    branch = mn.Trainer.branch(tmp_path, case.net(), case.data(), **case.given() | {"callbacks": [stopping]})
    assert branch.identity != trainer.identity
    branch.run(progress=False)
    assert branch.history.stopped == "finished"


# What is refused ---------------------------------------------------------------------------------------------

KIND = r"state of the rule Adam\(bias_correction=True, eps_on_corrected=True\), which keeps mean, squares is .*0\.W"
REFUSED = {
    "another rule": ({"rule": mn.Momentum()}, KIND),
    "another rule with as many slots": ({"rule": mn.LAMB()}, KIND),
    "another convention": ({"rule": mn.Adam(bias_correction=False)}, KIND),
    "a combinator": ({"rule": mn.Accumulate(mn.Adam(), k=2)}, KIND),
    "a rule for one layer": ({"groups": [mn.Group(lambda t: t.name == "0.W", rule=mn.SGD())]}, KIND),
    "frozen tensors": ({"groups": [mn.Group(lambda t: t.name == "0.W", frozen=True)]}, KIND),
    "architecture": ({"net": wider()}, r"net layers 0 is Dense\(units=12"),
    "dropout": (
        {"net": mn.Net([*stress.mlp().layers.layers[:3], mn.Dropout(0.5), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy())},
        r"net layers 3 is Dropout\(",
    ),
    "seed": ({"net": stress.mlp().twin(seed=4)}, "net seed is 3 in the file, 4 here"),
    "dtype": ({"net": stress.mlp().twin(dtype=np.float64)}, "net dtype is float32"),
    "data": ({"data": stress.flat_data(seed=9)}, r"data x crc32 is .* in the state"),
    "fewer data": ({"data": stress.flat_data(40)}, r"data x shape is \[44, 6\] in the state, \[40, 6\] here"),
    "validation": ({"validation": stress.flat_data(20, seed=2)}, "validation x crc32"),
    "weights": ({"sample_weight": np.ones(44)}, "data sample_weight is none in the state"),
    "callbacks": ({"callbacks": []}, r"callbacks is \['EarlyStopping', .* in the state, \[\] here"),
    "other callbacks": (
        {"callbacks": [mn.EarlyStopping(patience=4), mn.EMA(), stress.AverageOfWeights()]},
        "callbacks 1 is ReduceOnPlateau in the state, EMA here",
    ),
    "too short": ({"steps": 10, "lr": 0.01}, "expected a run of at least the 17 steps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_over_is_refused_and_nothing_changes(name, saved):
    changes, message = REFUSED[name]
    given = {"net": stress.mlp(), "data": stress.flat_data()} | CASES["mlp"].given() | changes
    net, data = given.pop("net"), given.pop("data")
    before = net.params.copy(), net.buffers.copy(), net.step, net.frozen
    with pytest.raises(mn.CheckpointError, match=message):
        mn.Trainer.branch(saved, net, data, **given)
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])
    assert (net.step, net.frozen) == before[2:]


def test_runs_of_rules_with_single_numbers_are_compared_too():
    """NAdam keeps a product for each run, and weight decay divides the tensors into runs."""
    case = CASES["NAdam"]
    with pytest.raises(mn.CheckpointError, match=r"NAdam\(.* is 0\.W, 3\.W, 0\.b, 3\.b in the state, .*; .* here"):
        mn.Trainer.branch(state_at(case, 7), case.net(), case.data(), **case.given(), weight_decay=0.1)


def test_a_state_of_a_run_that_has_ended_is_refused():
    case = CASES["ScheduleFreeSGD"]
    trainer = whole(case)
    with pytest.raises(mn.CheckpointError, match=r"of a run that has ended after step 30.*trainer\.leave"):
        mn.Trainer.branch(trainer.state(), case.net(), case.data(), **case.given())


def test_states_that_are_none_are_refused(saved):
    case, content = CASES["mlp"], saved.read_bytes()

    def branch(state):
        return mn.Trainer.branch(state, case.net(), case.data(), **case.given())

    for spoilt in (b"", content[:100], content[:-1], content[:-9] + b"\1" + content[-8:]):
        with pytest.raises(mn.CheckpointError, match="the given bytes"):
            branch(spoilt)
    with pytest.raises(FileNotFoundError, match="no such file"):
        branch(saved.parent / "none.ckpt")
    document, arrays = archive.read(saved)
    document["optimizer"].pop("contents")
    with pytest.raises(mn.CheckpointError, match=r"of an older minnet\. Resume it and save it again"):
        branch(archive.packed(document, arrays))


def test_the_state_is_the_content_of_the_file(tmp_path):
    trainer = CASES["mlp"].start()
    next(trainer)
    trainer.save(tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(trainer.state())
    assert checksum(tmp_path / "a.ckpt") == checksum(tmp_path / "b.ckpt")


def test_a_state_amid_a_step_is_refused():
    class TooEarly(mn.Callback):
        def on_epoch(self, trainer, row):
            trainer.state()

    with pytest.raises(RuntimeError, match=r"Trainer\.state: expected a call between steps"):
        CASES["SGD"].start(TooEarly()).run(progress=False)
