"""Documents for JSON, and paths that no file can have."""

import json
import math

import numpy as np
import pytest

from minnet.storage.files import plain, write_json, write_whole


def test_a_plain_document_is_the_same_in_words_that_json_knows(tmp_path):
    document = {
        "arrays": [np.array([[0.1, np.nan], [-np.inf, 1e300]]), np.float32([0.5, np.inf]), np.array(math.nan)],
        "scalars": (np.float64(0.1), np.float32(0.5), np.int64(3), np.bool_(True), np.float64("inf")),
        "rest": {"none": None, "text": "nan", "truth": False, "big": 2**70, "nan": math.nan, "empty": ()},
    }
    expected = {
        "arrays": [[[0.1, None], [None, 1e300]], [0.5, None], None],
        "scalars": [0.1, 0.5, 3, True, None],
        "rest": {"none": None, "text": "nan", "truth": False, "big": 2**70, "nan": None, "empty": []},
    }
    assert plain(document) == expected
    assert type(plain(document)["scalars"][3]) is bool
    write_json(tmp_path / "document.json", document)
    assert json.loads((tmp_path / "document.json").read_text()) == expected


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        (".", IsADirectoryError, "expected the path of a file to write; got that of the folder"),
        ("file/new", NotADirectoryError, "file to be a folder, to write new in it; got a file"),
        ("none/new", FileNotFoundError, "expected the folder .*none to exist, to write new in it"),
    ],
)
def test_a_path_that_no_file_can_have_is_named(path, error, words, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(error, match=words):
        write_whole(tmp_path / path, "content")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
