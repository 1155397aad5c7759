"""A few of the kills of ``tests/shared/stress_study.py``."""

import stress_study


def test_studies_that_are_killed_end_with_the_table_of_one_that_is_not():
    killed, ended = stress_study.kill_often(kills=3, trials=40, workers=0, seed=1, say=lambda *_, **__: None)
    assert killed == 3
    assert ended >= 1
