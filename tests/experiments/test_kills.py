"""A few of the kills of ``tests/shared/stress_study.py``."""

import subprocess
import sys

import stress_study


def test_studies_that_are_killed_end_with_the_table_of_one_that_is_not():
    """In a process of its own, which forks, and so must not have used threads."""
    program = [sys.executable, stress_study.__file__, "7", "--trials", "40", "--seed", "1"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "7 kills" in done.stdout
    assert "amid a commit" in done.stdout
