"""What the tests of training find."""

import pytest
from resuming import save_at
from stress_resume import CASES


@pytest.fixture
def saved(tmp_path):
    """A file of the case mlp at step 17."""
    save_at(CASES["mlp"], tmp_path, 17)
    return tmp_path / "17.ckpt"
