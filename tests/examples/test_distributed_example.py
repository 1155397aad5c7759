"""The example of data-parallel training, in one process; tests/distributed/ has runs of two ranks."""


def test_a_run_that_goes_on_has_the_weights_of_one_that_was_not_interrupted(run_example, tmp_path):
    def run(epochs, folder):
        done = run_example("distributed.py", "--epochs", str(epochs), "--out", str(tmp_path / folder))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(1, "a").startswith("1 ranks: validation accuracy 0.")
    assert run(2, "a") == run(2, "b")
