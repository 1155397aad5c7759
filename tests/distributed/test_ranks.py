"""Two real ranks: the bits of one process, the same decisions on both, and no rank that outlives the other."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import two_ranks

pytestmark = pytest.mark.skipif(
    find_spec("mpi4py") is None or shutil.which("mpiexec") is None,
    reason="needs mpi4py and mpiexec: pip install mpi4py mpich",
)

HUNG = 600  # seconds after which a program counts as hung


def launch(mode, folder, *python):
    """Start two ranks; ``python`` are the arguments before the program."""
    path = os.pathsep.join([os.path.dirname(two_ranks.__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_NUM_THREADS": "1"}
    program = ["mpiexec", "-n", "2", sys.executable, *python, two_ranks.__file__, mode, str(folder)]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(program):
    """Wait for a program; (return code, what it wrote to standard error)."""
    try:
        _, errors = program.communicate(timeout=HUNG)
    finally:
        program.kill()
    return program.returncode, errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def saves(folder):
    """Outcome of the run that saves, in one process."""
    return two_ranks.outcome(two_ranks.saving(folder / "of-one"))


@pytest.fixture(scope="module")
def together(folder, saves):
    """What each of the two ranks found, and what they wrote to standard error."""
    code, errors = end_of(launch("together", folder, "-m", "mpi4py"))
    assert code == 0, errors
    return *(json.loads((folder / f"found-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)), errors


def test_two_ranks_have_the_bits_of_one_process(together, saves):
    first, second, _ = together
    assert first["saves"] == second["saves"] == saves


def test_a_file_of_any_number_of_ranks_is_resumed_by_any_other_with_the_same_bits(together, saves, folder):
    first, second, _ = together
    assert first["resumed"] == second["resumed"] == saves  # two go on with the file of one
    assert two_ranks.outcome(two_ranks.go_on(folder / "of-two")) == saves


def test_rank_0_alone_writes_files_and_shows_progress(together, folder):
    first, second, errors = together
    assert (first["writes"], second["writes"]) == (True, False)
    assert (folder / "page.html").exists()
    assert errors.count("epoch 1/3") == 1


def test_a_request_to_one_rank_interrupts_both_and_they_go_on_with_the_same_bits(together):
    first, second, _ = together
    assert first["left"] == second["left"] == ["one rank said so", 3]
    assert first["goes on"] == second["goes on"] == two_ranks.outcome(two_ranks.start())


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("other data", "data x crc32 is "),
        ("other rate", "lr is 0.1 on rank 0, 0.2 on rank 1"),
        ("other seed", "net seed is 0 on rank 0, 1 on rank 1; weights is crc32 "),
    ],
)
def test_ranks_that_differ_are_refused_before_the_first_step(together, case, words):
    first, second, _ = together
    assert first[case] == second[case]
    assert "Trainer: expected the same program, data and arguments on all ranks; got another: " + words in first[case]


def test_a_divergence_is_the_same_error_on_both_ranks(together):
    first, second, _ = together
    start = two_ranks.error_of(lambda: two_ranks.start(lr=1e30, clip_norm=None), kind=two_ranks.mn.DivergenceError)
    assert first["diverges"] == second["diverges"] == start
    assert "expected a finite" in start


# A rank that is lost ------------------------------------------------------------------------------------------


def lose(mode, folder):
    """Start two ranks that lose one amid a run, without ``-m mpi4py``; (return code, errors)."""
    code, errors = end_of(launch(mode, folder))
    assert code != 0
    assert not list(folder.glob("found-*")), "a rank has come to its end"
    return errors


def goes_on(folder):
    """Whether the run goes on from its last file with the bits of one that nothing has broken off."""
    assert {path.name for path in folder.iterdir()} <= {"step-00000005.ckpt", ".lock"}
    return two_ranks.outcome(two_ranks.start(resume=folder)) == two_ranks.outcome(two_ranks.start())


def test_a_killed_rank_ends_both_and_the_run_goes_on_from_its_last_file(tmp_path):
    lose("killed", tmp_path)
    assert goes_on(tmp_path)


def test_an_exception_on_one_rank_ends_both_and_is_shown(tmp_path):
    assert "RuntimeError: rank 1 has had enough" in lose("raising", tmp_path)


@pytest.mark.parametrize("mode", ["twice", "twice on both", "three times", "while saving"])
def test_ctrl_c_again_ends_both_ranks_at_once_and_damages_no_file(mode, tmp_path):
    # The third comes while the error of the second is printed, and may cut it off before its last line.
    assert ("Traceback" if mode == "three times" else "KeyboardInterrupt") in lose(mode, tmp_path)
    assert goes_on(tmp_path)
