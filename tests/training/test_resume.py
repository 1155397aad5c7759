"""A run that is saved and resumed is the run that was never interrupted, to the last bit; all else is refused."""

import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import stress_resume as stress
from public_rules import public_rules
from resuming import DAMAGES, Full, Interrupt, SaveAt, names, resume, save_at, whole
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive, tensorfile

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


# The same bits -----------------------------------------------------------------------------------------------


def test_every_public_rule_is_put_to_the_test():
    assert set(stress.RULES) | {"LBFGS"} == public_rules()


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_with_the_same_bits(name, tmp_path):
    case = CASES[name]
    expected = whole(case)
    last = expected.step
    rng = np.random.default_rng(list(CASES).index(name))
    epoch = -(-len(case.data()[0]) // case.kept["batch_size"])  # a step from which an epoch has just ended
    steps = {1, epoch, last - 1, *rng.integers(1, last, 3).tolist()} - {last}
    saving = save_at(case, tmp_path, *steps)
    assert result(saving) == result(expected), "saving has disturbed the run"
    for step in steps:
        trainer = case.resume(tmp_path / f"{step}.ckpt")
        assert trainer.step == step
        trainer.run(progress=False)
        assert result(trainer) == result(expected), f"resumed from step {step}"


@pytest.mark.parametrize("name", CASES)
def test_what_was_saved_and_loaded_saves_to_the_same_content(name, tmp_path):
    case = CASES[name]
    save_at(case, tmp_path, 7)
    case.resume(tmp_path / "7.ckpt", SaveAt(tmp_path, ())).save(tmp_path / "again.ckpt")
    assert checksum(tmp_path / "again.ckpt") == checksum(tmp_path / "7.ckpt")


def checksum(path):
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        return file.metadata()["blake2b"]


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    tally, rng = stress.Tally(), np.random.default_rng(0)
    for name, kills in (("mlp", 3), ("convolutional", 2)):
        (tmp_path / name).mkdir()
        stress.torment(name, tmp_path / name, kills, rng, tally)
    assert tally.finished == 2
    assert tally.kills >= 2
    assert tally.wrong == []


@pytest.mark.parametrize("forgotten", ["slots", "buffers", "net_step", "position", "good", "lr_factor", "callbacks"])
def test_the_comparison_would_see_what_is_forgotten(forgotten, tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    save_at(case, tmp_path, 17)
    document, arrays = archive.read(tmp_path / "17.ckpt")
    changes = {
        "slots": lambda: document["optimizer"]["state"].fill(0),
        "buffers": lambda: arrays["1.running_mean"].fill(0),
        "net_step": lambda: document["at"].update(net_step=16),
        "position": lambda: document["at"].update(position=0),
        "good": lambda: document["good"].update(steps=0),
        "lr_factor": lambda: document.update(lr_factor=0.5),
        "callbacks": lambda: document["callbacks"][-1]["state"]["seen"].pop(),
    }
    for array in (*arrays.values(), document["optimizer"]["state"]):
        array.setflags(write=True)
    changes[forgotten]()
    archive.write(tmp_path / "spoilt.ckpt", document, arrays)
    trainer = case.resume(tmp_path / "spoilt.ckpt")
    if forgotten == "good":  # shows only when the run diverges
        assert trainer.good.steps == 0
        return
    trainer.run(progress=False)
    assert result(trainer) != result(expected)


class Spoil(mn.Callback):
    """Makes a weight NaN after a step, so that the run diverges at the next."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, record):
        if record.step == self.step:
            trainer.net.params[3] = np.nan


# In mid-epoch, at the end of one, and after its first step; saved before.
SPOILT = [(spoilt, saved) for spoilt in (9, 12, 13) for saved in (1, 6, 7, 8, 9, 11) if saved < spoilt]


@pytest.mark.parametrize(("spoilt", "saved"), SPOILT)
def test_a_resumed_run_diverges_as_the_whole_one_does(spoilt, saved, tmp_path):
    case = CASES["schedules"]  # 6 steps an epoch
    case = replace(case, given=lambda: CASES["schedules"].given() | {"callbacks": [Spoil(spoilt)]})

    def diverge(trainer):
        with pytest.raises(mn.DivergenceError) as error:
            trainer.run(progress=False)
        return str(error.value), result(trainer)

    expected = diverge(case.start(SaveAt(tmp_path, [saved])))
    assert diverge(case.resume(tmp_path / f"{saved}.ckpt")) == expected
    assert "The net is as it was after step" in expected[0]


def test_a_run_that_has_ended_stays_ended(tmp_path):
    case = CASES["mlp"]
    trainer = whole(case)
    trainer.save(tmp_path / "end.ckpt")
    again = case.resume(tmp_path / "end.ckpt")
    assert result(again) == result(trainer)
    assert list(again) == []
    assert result(again) == result(trainer)


def test_a_run_that_early_stopping_ends_is_over_when_resumed_from_its_last_file(tmp_path):
    case = CASES["early stopping"]
    saver = mn.Checkpoint(tmp_path)
    trainer = case.start(saver)
    history = trainer.run(progress=False)
    assert history.stopped.startswith("no better")
    again = case.resume(tmp_path, mn.Checkpoint(tmp_path))
    again.run(progress=False)
    assert result(again) == result(trainer)


# What is refused ---------------------------------------------------------------------------------------------


def wider():
    layers = [mn.Dense(13), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(3)]
    return mn.Net(layers, 6, mn.SoftmaxCrossEntropy(), l2=1e-3, max_norm=3.0, seed=3)


OTHERS = {
    "rule": (lambda: {"rule": mn.Adam(beta1=0.8)}, r"rule is Adam\(beta1=0.9.* in the file, Adam\(beta1=0.8.* here"),
    "lr": (lambda: {"lr": 0.1}, r"lr is Warmup\(.* in the file, 0.1 here"),
    "no lr": (lambda: {"without": ["lr"]}, r"expected lr=Warmup\(steps=5"),
    "clip_norm": (lambda: {"clip_norm": 2.0}, "clip_norm is 1.0 in the file, 2.0 here"),
    "weight_decay": (lambda: {"weight_decay": 0.1}, "weight_decay is 0.0 in the file, 0.1 here"),
    "validation": (lambda: {"validation": stress.flat_data(20, seed=2)}, "validation x crc32 is"),
    "no validation": (lambda: {"validation": None, "callbacks": []}, "validation is .*'shape': .* none here"),
    "patience": (
        lambda: {"callbacks": [mn.EarlyStopping(patience=3), *CASES["mlp"].given()["callbacks"][1:]]},
        r"callbacks 0 is EarlyStopping\(monitor='val_loss', patience=4.*patience=3",
    ),
    "callbacks": (lambda: {"callbacks": []}, r"callbacks is \[.EarlyStopping\(.* \[\] here"),
    "data": (lambda: {"data": stress.flat_data(seed=9)}, "data x crc32 is .*; data y crc32"),
    "length": (lambda: {"data": stress.flat_data(40)}, r"data x shape is \[44, 6\] in the file, \[40, 6\] here"),
    "architecture": (lambda: {"net": wider()}, r"net layers 0 is Dense\(units=12.*net parameters 0.W is \[6, 12\]"),
    "dtype": (lambda: {"net": stress.mlp().twin(dtype=np.float64)}, "net dtype is float32 in the file, float64 here"),
    "seed": (lambda: {"net": stress.mlp().twin(seed=4)}, "net seed is 3 in the file, 4 here"),
    "groups": (lambda: {"groups": [mn.Group(lambda t: t.decay)]}, r"groups is \[\] in the file, \['Group\("),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused_with_what_differs_and_nothing_changes(other, saved):
    make, message = OTHERS[other]
    given = make()
    net = given.pop("net", None) or stress.mlp()
    before = net.params.copy(), net.buffers.copy(), net.step
    with pytest.raises(mn.CheckpointError, match=message):
        resume(saved, net, **given)
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])
    assert net.step == before[2]


def scaled(decay):
    """A net of a layer that prints the same whatever its parameter's tag, which tells where that lies in the vector."""

    @dataclass(frozen=True)
    class Scale(mn.Layer):
        def plan(self, in_shape):
            return mn.Plan(in_shape, (mn.Param("g", in_shape, mn.initializers.Constant(1.0), decay=decay),))

        def forward(self, m, x, y):
            np.multiply(x, m.g, out=y)

        def backward(self, m, x, y, dy, dx):
            np.einsum("ni,ni->i", x, dy, out=m.dg)

    return mn.Net([Scale(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy())


def test_a_net_whose_tensors_lie_elsewhere_in_the_vector_is_refused(tmp_path):
    """State of the rule, and an ensemble's rows, are vectors: their elements would go to other weights."""
    moved = r"net start of 0\.g is 0 in the file, 18 here; net start of 1\.W is 6 in the file, 0 here$"
    given = {"rule": mn.Adam(), "lr": 0.01}
    trainer = mn.Trainer(scaled(True), stress.flat_data(), batch_size=8, steps=5, **given)
    trainer.save(tmp_path / "0.ckpt")
    mn.Trainer.resume(tmp_path / "0.ckpt", scaled(True), stress.flat_data(), **given)
    with pytest.raises(mn.CheckpointError, match=moved):
        mn.Trainer.resume(tmp_path / "0.ckpt", scaled(False), stress.flat_data(), **given)
    mn.Ensemble(trainer.net, [trainer.net]).save(tmp_path / "ensemble")
    mn.Ensemble.load(tmp_path / "ensemble", scaled(True))
    with pytest.raises(mn.CheckpointError, match=moved):
        mn.Ensemble.load(tmp_path / "ensemble", scaled(False))


def test_numbers_need_not_be_given_again(tmp_path):
    case = CASES["convolutional"]
    expected = whole(case)
    save_at(case, tmp_path, 9)
    validation = stress.images(12, seed=1)
    trainer = mn.Trainer.resume(
        tmp_path / "9.ckpt", stress.convolutional(), stress.images(), rule=mn.Nesterov(), validation=validation
    )
    trainer.run(progress=False)
    assert result(trainer) == result(expected)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_the_next_older_one_taken(damage, tmp_path):
    case = CASES["mlp"]
    expected = case.start(mn.Checkpoint(tmp_path, at=5, keep=9))
    expected.run(progress=False)
    newest, older = tmp_path / "step-00000030.ckpt", tmp_path / "step-00000025.ckpt"
    spoil, message = DAMAGES[damage]
    spoil(newest)
    with pytest.raises(mn.CheckpointError, match=rf"(?s){message}.*The next older one is .*{older.name}"):
        case.resume(newest)
    with pytest.warns(UserWarning, match=rf"{message}.*Going on from the older {older.name}"):
        trainer = case.resume(tmp_path)
    assert trainer.step == 25
    trainer.run(progress=False)
    assert result(trainer) == result(expected)
    for path in set(tmp_path.glob("*.ckpt")) - {newest}:
        spoil(path)
    with pytest.raises(mn.CheckpointError, match="expected a whole checkpoint in"):
        case.resume(tmp_path)


def test_the_older_one_is_offered_whatever_is_wrong_with_the_one_asked_for(tmp_path):
    CASES["mlp"].start(mn.Checkpoint(tmp_path, best="val_loss")).run(progress=False)
    newest, older = tmp_path / "step-00000030.ckpt", tmp_path / "step-00000024.ckpt"
    for path in (newest, tmp_path):  # of another architecture
        with pytest.raises(mn.CheckpointError, match=rf"net layers 0 is .*The next older one is .*{older.name}"):
            resume(path, net=wider())
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(mn.CheckpointError, match=rf"damaged.*The newest one beside it is .*{newest.name}"):
        resume(tmp_path / "best.ckpt")


def test_what_is_no_file_or_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = case.start(mn.Checkpoint(tmp_path, keep=9))
    expected.run(progress=False)
    (tmp_path / "step-00000099.ckpt").mkdir()
    (tmp_path / "step-00000098.ckpt").symlink_to(tmp_path / "gone")
    read = archive.read

    def refused(path, *kind):
        if path.name == "step-00000030.ckpt":
            raise PermissionError(13, "Permission denied", str(path))  # whoever runs the tests may read anything
        return read(path, *kind)

    monkeypatch.setattr(archive, "read", refused)
    with pytest.warns(UserWarning, match="Going on from the older step-00000024") as warned:
        trainer = case.resume(tmp_path, mn.Checkpoint(tmp_path, keep=9))
    assert len([w for w in warned if "Going on" in str(w.message)]) == 3
    trainer.run(progress=False)
    assert result(trainer) == result(expected)
    assert (tmp_path / "step-00000099.ckpt").is_dir()


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        resume(tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match="expected checkpoints"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"best": {1, 2}}, "got {1, 2} at /callbacks/1/state/best"),
        ({1: 2}, "expected keys that are text"),
        ({"$array": 2}, "expected keys that are text"),
        ({"when": np.array(["2020"], "M8[Y]")}, "expected arrays of numbers"),
    ],
)
def test_a_state_that_no_file_can_hold_is_refused_by_name(state, message, tmp_path):
    class Odd(mn.Callback):
        def state(self):
            return state

    case = CASES["SGD"]
    trainer = case.start(mn.EarlyStopping("loss"), Odd())
    next(trainer)
    with pytest.raises(TypeError, match=message):
        trainer.save(tmp_path / "x.ckpt")
    assert list(tmp_path.iterdir()) == []


class Talkative(mn.Callback):
    """A state that is larger than what a file's header may hold, or that would be read as very many dicts."""

    bystander = True

    def __init__(self, words):
        self.words = words

    def state(self):
        return {"words": self.words}

    def restore(self, state):
        pass


@pytest.mark.parametrize(
    "words", ["x" * 101_000_000, "x" * 2_000_000, [{"a": 0}] * 20_000], ids=["very long", "long", "dicts"]
)
def test_a_document_too_large_is_an_error_of_the_disks_kind(words, tmp_path):
    with pytest.raises(OSError, match="expected a minnet checkpoint with a document that readers can hold"):
        CASES["SGD"].start(Talkative(words), mn.Checkpoint(tmp_path)).run(progress=False)
    trainer = CASES["SGD"].start(Talkative(words), mn.Checkpoint(tmp_path, must_save=False))
    with pytest.warns(RuntimeWarning, match="is not saved"):
        trainer.run(progress=False)
    assert trainer.history.stopped == "finished"
    assert names(tmp_path) == []


DENSE = {
    "dicts": "{}",
    "dicts of one": '{"":0}',
    "lists": "[]",
    "lists of one": "[0]",
    "floats": "1e9",
    "texts": '"ab"',
    "nested": "[" * 300 + "]" * 300,
    "nested dicts": '{"":' * 300 + "0" + "}" * 300,
    "long texts": f'"{"x" * 100_000}"',
    "wide texts": f'"{"x" * 100_000}\\ud83d\\ude00"',
    "keys": "",
}


def dense(kind, length):
    """A JSON text of about so many characters that takes much memory when it is read."""
    many = length // len(DENSE[kind] or '"abcdef":0,')
    if kind == "keys":
        return '{"x":{' + ",".join(f'"{i:06x}":0' for i in range(many)) + "}}"
    return f'{{"x":[{",".join([DENSE[kind]] * many)}]}}'


@pytest.mark.parametrize("kind", DENSE)
def test_reading_takes_no_memory_beyond_twice_the_files_size_and_4_mib(kind, tmp_path):
    """Of the largest document that is read, and of much larger ones, which are not."""
    import tracemalloc

    from safetensors.numpy import save_file

    path, size = tmp_path / "dense.ckpt", 2_000_000
    lengths = [size // 2**i for i in range(8)]
    outcomes = []
    for length in lengths:
        text, array = dense(kind, length), np.zeros(size - length, np.uint8)
        checksum = archive._checksum(text, {"x": array})
        metadata = {"format": "minnet checkpoint", "version": "1", "document": text, "blake2b": checksum}
        save_file({"x": array}, path, metadata)
        del text, array
        tracemalloc.start()
        try:
            archive.read(path)
            outcomes.append("")
        except mn.CheckpointError as error:
            outcomes.append(str(error).partition("; got ")[2].partition(" (")[0])
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak <= 2 * path.stat().st_size + 2**22
    assert outcomes == sorted(outcomes, reverse=True)  # the large ones are refused
    assert set(outcomes) == {"", "one of too many parts for its size"}


@pytest.mark.parametrize("kind", DENSE)
def test_the_estimate_of_a_documents_memory_is_no_less_than_it_takes(kind):
    import tracemalloc

    text = dense(kind, 300_000)
    tracemalloc.start()
    try:
        document = json.loads(text)
        assert tracemalloc.get_traced_memory()[1] + len(text) <= tensorfile.memory_of_json(text)
    finally:
        tracemalloc.stop()
    assert len(document["x"]) >= 2


def with_header(tmp_path, *tensors, document="{}", tail=b"", **more):
    """A file whose header has these entries, under the checksum of no arrays."""
    metadata = {"format": "minnet checkpoint", "version": "1", "document": document} | more
    metadata = {"blake2b": archive._checksum(document, {})} | metadata
    header = ("{" + ",".join([f'"__metadata__":{json.dumps(metadata)}', *tensors]) + "}").encode()
    (tmp_path / "header.ckpt").write_bytes(len(header).to_bytes(8, "little") + header + tail)
    return tmp_path / "header.ckpt"


def entry(name="x", dtype="U8", shape="2", start=0, stop=2, more=""):
    return f'"{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{start},{stop}]{more}}}'


HEADERS = {
    "an unknown dtype": ([entry(dtype="BF16", stop=4)], bytes(4)),
    "a shape of another size": ([entry(shape="3")], bytes(2)),
    "a negative shape": ([entry(shape="-1,-2")], bytes(2)),
    "a shape of no whole numbers": ([entry(shape="2.0")], bytes(2)),
    "a shape that is too large": ([entry(shape="0,4611686018427387904,4611686018427387904", stop=0)], b""),
    "a shape of too many axes": ([entry(shape=",".join("0" * 70), stop=0)], b""),
    "a long shape": ([entry(shape=",".join("1" * 1000), stop=1)], bytes(1)),
    "an overlap": ([entry("x"), entry("y", start=1, stop=3)], bytes(3)),
    "a gap": ([entry("x"), entry("y", start=3, stop=5)], bytes(5)),
    "one name twice": ([entry(), entry(start=2, stop=4)], bytes(4)),
    "bytes missing": ([entry()], bytes(1)),
    "bytes too many": ([entry()], bytes(3)),
    "an offset of -2": ([entry(start=-2, stop=0)], b""),
    "an entry that is none": (['"x":[]}'], b""),
    "an entry without a shape": (['"x":{"dtype":"U8","data_offsets":[0,2]}'], bytes(2)),
    "half a text": (['"x'], b""),
    "a text that is no Unicode": ([entry("\\ud800")], bytes(2)),
}


@pytest.mark.parametrize("axes", [1, 30])
def test_a_file_of_many_empty_tensors_takes_no_memory_beyond_that_either(axes, tmp_path):
    import tracemalloc

    read = []
    for many in (500, 1000, 2000, 4000, 8000, 16_000):
        arrays = {f"{i:x}": np.zeros((0,) * axes, np.uint8) for i in range(many)}
        entries = [entry(name, shape=",".join("0" * axes), stop=0) for name in arrays]
        path = with_header(tmp_path, *entries, blake2b=archive._checksum("{}", arrays))
        del arrays, entries
        tracemalloc.start()
        try:
            archive.read(path)
            read.append(many)
        except mn.CheckpointError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak <= 2 * path.stat().st_size + 2**22
    assert 1000 <= max(read) < 16_000


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_is_not_as_it_should_be_is_refused(header, tmp_path):
    entries, tail = HEADERS[header]
    with pytest.raises(mn.CheckpointError, match="truncated or damaged"):
        archive.read(with_header(tmp_path, *entries, tail=tail))


def test_a_header_may_have_spaces_other_keys_and_tensors_in_any_order(tmp_path):
    a, b = np.arange(3, dtype=np.uint8), np.arange(4, dtype=np.float32)
    document = '{"x": {"$array": "é"}}'
    entries = [
        ' "é" : { "data_offsets":[3,19], "shape":[2, 2],"dtype":"F32", "more":0}\n',
        entry(shape="3", stop=3),
    ]
    checksum = archive._checksum(document, {"x": a, "é": b.reshape(2, 2)})
    path = with_header(tmp_path, *entries, document=document, blake2b=checksum, tail=a.tobytes() + b.tobytes())
    document, arrays = archive.read(path)
    assert list(arrays) == ["x"]
    assert np.array_equal(arrays["x"], a)
    assert np.array_equal(document["x"], b.reshape(2, 2))


def test_saving_amid_a_step_is_refused(tmp_path):
    class TooEarly(mn.Callback):
        def on_epoch(self, trainer, row):
            trainer.save(tmp_path / "x.ckpt")

    with pytest.raises(RuntimeError, match=r"between steps.*got one amid a step"):
        CASES["SGD"].start(TooEarly()).run(progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_was_broken_off_cannot_be_saved(tmp_path, monkeypatch):
    trainer = CASES["Adam"].start()
    next(trainer)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.optimizer, "step", interrupted)  # after the gradient, before the update
    with pytest.raises(KeyboardInterrupt):
        next(trainer)
    with pytest.raises(RuntimeError, match="amid a step"):
        trainer.save(tmp_path / "x.ckpt")


def test_a_callback_that_refuses_its_state_leaves_the_others_as_they_were(saved):
    class Refuses(stress.AverageOfWeights):
        def restore(self, state):
            if state["mean"] is not None:
                raise ValueError("not mine")

        def __repr__(self):
            return "AverageOfWeights(decay=0.9)"

    stopping, plateau, _ = callbacks = [*CASES["mlp"].given()["callbacks"][:2], Refuses()]
    with pytest.raises(mn.CheckpointError, match=r"expected states of the callbacks.*not mine"):
        resume(saved, callbacks=callbacks)
    assert stopping.best is None
    assert plateau.best is None


# The folder --------------------------------------------------------------------------------------------------


def test_the_newest_and_the_best_are_kept(tmp_path):
    case = CASES["mlp"]
    trainer = case.start(mn.Checkpoint(tmp_path / "a" / "b", keep=2, best="val_accuracy"))
    history = trainer.run(progress=False)
    assert names(tmp_path / "a" / "b") == ["best.ckpt", "step-00000024.ckpt", "step-00000030.ckpt"]
    best = history.epochs.rows[int(np.argmax(history["val_accuracy"]))]
    document, _ = archive.read(tmp_path / "a" / "b" / "best.ckpt")
    assert document["at"]["step"] == best["step"]
    again = case.resume(tmp_path / "a" / "b" / "best.ckpt")
    again.run(progress=False)
    assert result(again) == result(trainer)


@pytest.mark.parametrize(
    ("case", "at", "steps"),
    [
        ("Adam", 7, [7, 14, 21, 28, 30]),
        ("Adam", [2, 11], [2, 11, 30]),
        ("Adam", mn.diagnostics.log_spaced(2), [1, 3, 10, 30]),
        ("averages", "trough", [8, 16, 24, 30]),
    ],
)
def test_moments_of_files_may_be_chosen_and_the_last_step_is_always_saved(case, at, steps, tmp_path):
    CASES[case].start(mn.Checkpoint(tmp_path, at, keep=9)).run(progress=False)
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in steps]


def test_files_at_events_want_a_schedule_that_has_them(tmp_path):
    with pytest.raises(ValueError, match=r"Checkpoint: expected a schedule with a trough .* got Constant"):
        CASES["Adam"].start(mn.Checkpoint(tmp_path, "trough")).run(progress=False)
    with pytest.raises(ValueError, match="Checkpoint: expected at to be a number of steps, 'epoch' or one of"):
        mn.Checkpoint(tmp_path, "epochs")


def test_the_best_so_far_is_remembered_when_a_run_is_resumed(tmp_path):
    case = CASES["mlp"]
    case.start(mn.Checkpoint(tmp_path / "whole", keep=9, best="val_loss")).run(progress=False)
    expected = (tmp_path / "whole" / "best.ckpt").read_bytes()
    for path in sorted((tmp_path / "whole").glob("step-*.ckpt"))[:-1]:
        other = mn.Checkpoint(tmp_path / path.stem, keep=9, best="val_loss")
        (tmp_path / path.stem).mkdir()
        (tmp_path / path.stem / "best.ckpt").write_bytes(expected)
        case.resume(path, other).run(progress=False)
        document, arrays = archive.read(tmp_path / path.stem / "best.ckpt")
        wanted, values = archive.read(tmp_path / "whole" / "best.ckpt")
        assert document["at"] == wanted["at"]
        assert all(np.array_equal(arrays[name], values[name]) for name in values)


def test_a_new_run_does_not_write_among_the_files_of_another(tmp_path):
    case = CASES["Adam"]
    case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=r"no checkpoints of another run in .*step-00000030.ckpt"):
        case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".step-00000006.ckpt.123.tmp").write_bytes(b"half")
    (tmp_path / ".best.ckpt.123.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    CASES["Adam"].start(mn.Checkpoint(tmp_path)).run(progress=False)
    assert [name for name in names(tmp_path) if not name.endswith(".ckpt")] == ["notes.txt"]


def test_bystanders_may_come_and_go(tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    case.start(SaveAt(tmp_path, [9]), SaveAt(tmp_path, [])).run(progress=False)
    trainer = case.resume(tmp_path / "9.ckpt", mn.Checkpoint(tmp_path / "new"))
    trainer.run(progress=False)
    assert result(trainer) == result(expected)


# Errors of the disk ------------------------------------------------------------------------------------------


def test_a_full_disk_stops_the_run_and_leaves_the_former_checkpoint_whole(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=5))
    Full(monkeypatch, after=2)
    with pytest.raises(
        OSError, match=r"expected to write a minnet checkpoint of [\d,]+ bytes; got No space left on device"
    ):
        trainer.run(progress=False)
    assert names(tmp_path) == ["step-00000005.ckpt", "step-00000010.ckpt"]
    monkeypatch.undo()
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)
    trainer.run(progress=False)  # and the run itself is whole: with room again it goes on
    assert result(trainer) == result(expected)


def test_a_full_disk_is_a_warning_if_asked_and_the_run_goes_on(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=5, must_save=False))
    Full(monkeypatch, after=2)
    with pytest.warns(RuntimeWarning, match="is not saved: .*No space left on device") as warned:
        trainer.run(progress=False)
    assert [str(w.message)[:20] for w in warned] == [f"Checkpoint: step {step} " for step in (15, 20, 25, 30)]
    assert names(tmp_path) == ["step-00000005.ckpt", "step-00000010.ckpt"]
    assert result(trainer) == result(expected)


LIMITED = """
import resource, signal, sys
import stress_resume as stress
import minnet as mn
from pathlib import Path

folder = Path(sys.argv[1])
trainer = stress.CASES["mlp"].start(mn.Checkpoint(folder, at=5))
for record in trainer:
    if record.step == 7:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
"""


def test_a_missing_folder_is_a_clear_error(tmp_path):
    trainer = CASES["Adam"].start()
    with pytest.raises(FileNotFoundError) as error:
        trainer.save(tmp_path / "none" / "x.ckpt")
    assert str(error.value) == f"expected the folder {tmp_path / 'none'} to exist, to write x.ckpt in it"


def test_the_real_error_of_a_file_that_may_not_grow(tmp_path):
    pytest.importorskip("resource", reason="needs limits of a Unix process")
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "expected to write a minnet checkpoint of" in run.stderr.splitlines()[-1]
    assert "File too large" in run.stderr.splitlines()[-1]
    assert names(tmp_path) == ["step-00000005.ckpt"]
    archive.read(tmp_path / "step-00000005.ckpt")


@pytest.mark.parametrize("must_save", [True, False])
def test_a_read_only_folder_is_a_clear_error(tmp_path, must_save, monkeypatch):
    real = Path.open

    def refused(path, *mode, **options):
        if path.suffix == ".tmp":  # whoever runs the tests may be allowed to write anywhere
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *mode, **options)

    monkeypatch.setattr(Path, "open", refused)
    trainer = CASES["Adam"].start(mn.Checkpoint(tmp_path, must_save=must_save))
    if must_save:
        with pytest.raises(
            PermissionError, match=r"expected to write a minnet checkpoint .* got Permission denied.*step-00000006"
        ):
            trainer.run(progress=False)
    else:
        with pytest.warns(RuntimeWarning, match="is not saved: .*Permission denied") as warned:
            trainer.run(progress=False)
        assert len(warned) == trainer.history["epoch"][-1]
        assert trainer.history.stopped == "finished"
    assert list(tmp_path.iterdir()) == []


# Ctrl-C and SIGTERM ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "step"), [("on_step", 1), ("on_step", 8), ("on_step", 12), ("on_epoch", 12)])
def test_ctrl_c_saves_and_stops_and_the_run_goes_on_with_the_same_bits(at, step, tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(Interrupt(signal.SIGINT, step, at), mn.Checkpoint(tmp_path, at=1000))
    history = trainer.run(progress=False)
    assert (history.stopped, trainer.step) == ("interrupted", step)
    assert names(tmp_path) == [f"step-{step:08}.ckpt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = case.resume(tmp_path)
    assert again.history.stopped is None
    again.run(progress=False)
    assert result(again) == result(expected)


def test_ctrl_c_between_the_parts_of_an_optimizer_step_saves_nothing_half_done(tmp_path, monkeypatch):
    case = CASES["groups"]  # several parts, one after the other
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=1000))
    part = trainer.optimizer._parts[1]
    real = part.rate

    def rate(*values):
        if trainer.step == 8 and trainer.optimizer.steps == 8:
            signal.raise_signal(signal.SIGINT)
        return real(*values)

    monkeypatch.setattr(part, "rate", rate)
    history = trainer.run(progress=False)
    assert (history.stopped, trainer.step) == ("interrupted", 9)
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)


class InterruptLate(mn.Callback):
    """Sends Ctrl-C to its own process when the callbacks before it have been asked whether to save."""

    bystander = True

    def between_steps(self, trainer):
        if trainer.step == 8:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("first", [True, False], ids=["before it saves", "after"])
def test_a_signal_between_the_callbacks_is_not_too_late_to_be_saved(first, tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    late, saving = InterruptLate(), mn.Checkpoint(tmp_path, at=1000)
    trainer = case.start(*([late, saving] if first else [saving, late]))
    assert trainer.run(progress=False).stopped == "interrupted"
    assert f"step-{trainer.step:08}.ckpt" in names(tmp_path)
    again = case.resume(tmp_path)
    assert again.step == trainer.step
    again.run(progress=False)
    assert result(again) == result(expected)


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    class Twice(mn.Callback):
        def on_step(self, trainer, record):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer = CASES["SGD"].start(Twice(), mn.Checkpoint(tmp_path))
    assert trainer.run(progress=False).stopped == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_handler_of_the_users_own_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("term"))
    try:
        history = CASES["SGD"].start(Interrupt(signal.SIGTERM, 3)).run(progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (history.stopped, seen) == ("finished", ["term"])


TERMINATED = """
import sys
import stress_resume as stress
import minnet as mn
from pathlib import Path

class Say(mn.Callback):
    bystander = True
    def on_step(self, trainer, record):
        print(record.step, flush=True)
        if record.step == 4:
            sys.stdin.readline()  # so that the signal comes in mid-run

stress.CASES["mlp"].start(mn.Checkpoint(Path(sys.argv[1]), at=1000), Say()).run(progress=False)
print("after the run")
"""


def test_sigterm_saves_and_then_ends_the_process(tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", TERMINATED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line == "4\n":
            break
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate("\n")
    assert process.returncode == -signal.SIGTERM
    assert "after the run" not in said
    (path,) = tmp_path.iterdir()
    assert path.name in ("step-00000004.ckpt", "step-00000005.ckpt")
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)


def test_sigterm_says_why_it_could_not_save(tmp_path):
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FAILING, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGTERM
    assert "FileNotFoundError: expected the folder" in process.stderr.splitlines()[-1]
    assert "between_steps" in process.stderr


FAILING = """
import shutil, signal, sys
from pathlib import Path
import stress_resume as stress
import minnet as mn

class Signal(mn.Callback):
    bystander = True
    def on_step(self, trainer, record):
        if record.step == 4:
            shutil.rmtree(sys.argv[1])
            Path(sys.argv[1]).write_text("no folder")
            signal.raise_signal(signal.SIGTERM)

stress.CASES["SGD"].start(Signal(), mn.Checkpoint(sys.argv[1], at=1000)).run(progress=False)
"""


def test_a_resume_that_fails_does_not_free_the_folder_for_another_run(tmp_path):
    case = CASES["mlp"]
    case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    saving = mn.Checkpoint(tmp_path)
    with pytest.raises(mn.CheckpointError):
        resume(tmp_path, net=wider(), callbacks=[saving])
    newest = max(tmp_path.glob("step-*.ckpt"))
    document, arrays = archive.read(newest)
    document["callbacks"][-1]["state"] = {}
    archive.write(newest, document, arrays)
    with pytest.raises(mn.CheckpointError, match="states of the callbacks"):
        resume(newest, callbacks=[saving, *CASES["mlp"].given()["callbacks"]])
    with pytest.raises(FileExistsError, match="no checkpoints of another run"):
        CASES["SGD"].start(saving).run(progress=False)


# For others to read ------------------------------------------------------------------------------------------


def test_weights_lie_in_the_file_under_their_names_and_the_rest_is_json(saved):
    import safetensors
    from safetensors.numpy import load_file

    arrays = load_file(saved)
    net = stress.mlp()
    for name, values in {**net.named_parameters(), **net.named_buffers()}.items():
        assert arrays[name].shape == values.shape
        assert arrays[name].dtype == values.dtype
    with safetensors.safe_open(saved, "numpy") as file:
        document = json.loads(file.metadata()["document"], parse_constant=lambda text: pytest.fail(text))
    assert document["run"]["rule"].startswith("Adam(")
    assert document["at"]["step"] == 17


def test_the_checksum_is_of_what_the_format_says(saved):
    """Computed anew from the words of CONTRIBUTING.md, by another way through the file."""
    import hashlib

    raw = saved.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    metadata = header.pop("__metadata__")
    digest = hashlib.blake2b(metadata["document"].encode(), digest_size=16)
    numpy_name = {"F32": "float32", "F64": "float64", "I64": "int64"}
    for name, entry in sorted(header.items()):
        shape = tuple(entry["shape"])
        digest.update(f"\n{name} {numpy_name[entry['dtype']]} {shape}\n".encode())
        digest.update(body[slice(*entry["data_offsets"])])
    assert digest.hexdigest() == metadata["blake2b"]


def test_reading_a_file_runs_no_warnings_and_leaves_the_caller_its_arrays(saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document, arrays = archive.read(saved)
    assert set(arrays) == {*stress.mlp().named_parameters(), *stress.mlp().named_buffers()}
    assert document["history"]["epochs"]["average"]["values"].dtype == np.float32


class Figures(mn.Callback):
    """Adds to the epochs' rows."""

    def __init__(self, **figures):
        self.figures = figures

    def on_epoch(self, trainer, row):
        row |= {name: figure(row["epoch"]) for name, figure in self.figures.items() if figure(row["epoch"]) is not None}


FIGURES = {  # what is added at an epoch
    "NumPy's": {"a": np.float64, "b": np.float32, "c": np.int64},
    "in some rows": {"a": lambda i: i / 3 if i % 2 else None, "b": lambda i: np.float64(i) if i > 2 else None},
    "NaN and infinity": {"a": lambda i: float("nan"), "b": lambda i: -np.inf if i == 1 else np.nan},
    "text": {"a": str},
    "kinds that differ": {"a": lambda i: i / 3 if i % 2 else i},
    "True": {"a": bool},
    "large": {"a": lambda i: 2**64 + i},
}


@pytest.mark.parametrize("kind", FIGURES)
def test_a_history_of_any_columns_is_the_same_when_resumed(kind, tmp_path):
    case = replace(CASES["Adam"], given=lambda: CASES["Adam"].given() | {"callbacks": [Figures(**FIGURES[kind])]})
    expected = whole(case)
    assert len(expected.history) > 4
    for step in (1, expected.step // 2, expected.step):
        (tmp_path / str(step)).mkdir()
        save_at(case, tmp_path / str(step), step)
        trainer = case.resume(tmp_path / str(step) / f"{step}.ckpt")
        trainer.run(progress=False)
        assert result(trainer) == result(expected)
    document, _ = archive.read(tmp_path / str(expected.step) / f"{expected.step}.ckpt")
    assert isinstance(document["history"]["epochs"]["loss"], np.ndarray)


def test_columns_in_another_order_stay_rows(tmp_path):
    class Turns(mn.Callback):
        def on_epoch(self, trainer, row):
            row |= {"a": 1, "b": 2} if row["epoch"] % 2 else {"b": 2, "a": 1}

    case = replace(CASES["Adam"], given=lambda: CASES["Adam"].given() | {"callbacks": [Turns()]})
    expected = save_at(case, tmp_path, 20)
    trainer = case.resume(tmp_path / "20.ckpt")
    trainer.run(progress=False)
    assert result(trainer) == result(expected)


ONES = np.ones(5, np.int64)
TABLES = {
    "of small numbers": {"step": np.ones(5, np.uint8)},  # whose rows would take 200 times its memory
    "of two axes": {"step": np.ones((5, 2), np.int64)},
    "of different lengths": {"step": ONES, "loss": np.ones(4)},
    "of lists too short": {"step": ONES, "loss": [1, 2, 3, 4]},
    "of texts": {"step": ONES, "loss": "12345"},
    "of lists alone": {"step": [1, 2, 3, 4, 5]},
    "with no whole column": {"step": {"values": ONES, "rows": np.arange(5), "plain": True}},
    "of parts too short": {"step": ONES, "a": {"values": ONES[:4], "rows": None, "plain": True}},
    "of parts without values": {"step": ONES, "a": {"rows": None, "plain": True}},
    "of parts out of range": {"step": ONES, "a": {"values": ONES[:1], "rows": np.array([5]), "plain": True}},
    "of parts before the first": {"step": ONES, "a": {"values": ONES[:1], "rows": np.array([-1]), "plain": True}},
    "of parts out of order": {"step": ONES, "a": {"values": ONES[:2], "rows": np.array([2, 2]), "plain": True}},
    "of parts at no whole numbers": {"step": ONES, "a": {"values": ONES[:1], "rows": np.ones(1), "plain": True}},
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["epochs", "steps"])
def test_a_history_of_other_columns_is_refused(table, kind, saved):
    document, arrays = archive.read(saved)
    document["history"][kind] = TABLES[table]
    archive.write(saved, document, arrays)
    with pytest.raises(mn.CheckpointError, match=f"expected history {kind} in .* as a run has it"):
        resume(saved)


def test_every_dtype_and_shape_is_read_as_safetensors_reads_it(tmp_path):
    from safetensors.numpy import load_file

    rng, path = np.random.default_rng(0), tmp_path / "x"
    shapes = ((), (1,), (3,), (0,), (2, 0, 3), (2, 3, 4))
    arrays = {
        f"{name} {shape}": rng.integers(0, 2, shape).astype(name) for name in sorted(archive._NAMES) for shape in shapes
    }
    archive.write(path, {}, arrays)
    _, read = archive.read(path)
    assert len(read) == len(archive._NAMES) * len(shapes)
    for name, wanted in load_file(path).items():
        assert (read[name].dtype, read[name].shape) == (wanted.dtype, wanted.shape)
        assert np.array_equal(read[name], arrays[name])
        assert read[name].flags.writeable


# Hostile files -----------------------------------------------------------------------------------------------


def test_hostile_files_are_refused_or_read_without_harm():
    import hostile_files

    outcomes = hostile_files.torture(200, seed=1)
    assert {name: outcome.bad for name, outcome in outcomes.items() if outcome.bad} == {}
    assert all(outcome.refused > 5 for outcome in outcomes.values())


def test_the_watch_over_hostile_files_would_see_code_and_memory(tmp_path):
    import tracemalloc

    import hostile_files

    class Careless(hostile_files.Files):
        def read(self, path):
            exec("pass")

    class Greedy(hostile_files.Files):
        def read(self, path):
            np.zeros(10**7)

    class Confused(hostile_files.Files):
        def read(self, path):
            raise KeyError("x")

    sys.addaudithook(hostile_files._audit)
    tracemalloc.start()
    for kind, said in ((Careless, "ran"), (Greedy, "bytes of memory"), (Confused, "KeyError")):
        outcome = hostile_files.Outcome()
        reader = kind(tmp_path, {"x": b"1234"}, None)
        hostile_files.attempt(reader, np.random.default_rng(0), outcome)
        assert said in outcome.bad[0]
    tracemalloc.stop()
