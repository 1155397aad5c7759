"""The store: outcomes come back as they were, and a file that is another's is refused and left as it is."""

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import units_of_work as work

from minnet.experiments import Choice, Log, Outcome, Space, Store, StoreError, Unit, digest
from minnet.optim.rules import Adam

SUBJECT = {"metric": "val_loss", "data": {"x": {"crc32": 7}}}


def unit(i):
    return Unit(f"key {i}", work.square, (i,), {"number": i, "config": {"lr": 0.1}})


RESULT = {"figure": 0.1 + 0.2, "nan": float("nan"), "n": 3, "curve": np.arange(4.0), "text": "ü", "np": np.float64(0.3)}


@pytest.mark.parametrize("where", [None, "study.db"])
def test_an_outcome_comes_back_as_it_was(where, tmp_path):
    path = where and tmp_path / where
    with Store(path, SUBJECT) as store:
        store.put(unit(1), Outcome("done", "", RESULT, b"\x00state", 0.5, {"machine": "m", "threads": 2}))
        store.put(unit(2), Outcome("failed", "ValueError: no"))
        if path:
            assert [row.key for row in Store.reading(path)[1]] == ["key 1", "key 2"]  # while it is written
            store.close()
            store = Store(path, SUBJECT)
        found = store.get("key 1")
        assert found.result.pop("nan") != 0
        np.testing.assert_array_equal(found.result.pop("curve"), np.arange(4.0))
        assert found.result == {"figure": 0.1 + 0.2, "n": 3, "text": "ü", "np": 0.3}
        assert (found.state, found.seconds, found.where["threads"]) == (b"\x00state", 0.5, 2)
        assert store.get("key 3") is None
        rows = store.rows()
        assert [row.columns["number"] for row in rows] == [1, 2]
        assert [row.outcome.status for row in rows] == ["done", "failed"]
        store.close()


def test_a_store_of_another_study_is_refused_with_what_differs(tmp_path):
    Store(tmp_path / "a.db", SUBJECT).close()
    with pytest.raises(StoreError, match="data x crc32 is 7 in the file, 8 here"):
        Store(tmp_path / "a.db", {**SUBJECT, "data": {"x": {"crc32": 8}}})
    Store(tmp_path / "a.db", SUBJECT).close()


def test_a_newer_schema_and_other_files_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "a.db"
    Store(path, SUBJECT).close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE about SET value = '2' WHERE name = 'schema'")
    file.close()
    with pytest.raises(StoreError, match=r"schema 1 or older; .* has schema 2, of a newer minnet"):
        Store(path, SUBJECT)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    text = tmp_path / "text.db"
    text.write_text("not a database" * 100, encoding="utf-8")
    for wrong, words in ((other, r"tables \['mine'\]"), (text, "whole SQLite file")):
        before = wrong.read_bytes()
        with pytest.raises(StoreError, match=words):
            Store(wrong, SUBJECT)
        assert wrong.read_bytes() == before


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "a.db"
    with Store(path, SUBJECT) as store:
        for i in range(200):
            store.put(unit(i), Outcome("done", result={"text": "x" * 400}))
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 8192):
        content[place] = 0xAB
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|whole SQLite file"):
        Store(path, SUBJECT)


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "a.db"
    with Store(path, SUBJECT) as store:
        for i in range(200):
            store.put(unit(i), Outcome("done", result={"text": "x" * 400}))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(StoreError, match=r"damaged|whole SQLite file"):
        Store(path, SUBJECT)


SECOND = """
import sys
from minnet.experiments import Store
try:
    Store(sys.argv[1], {"metric": "val_loss", "data": {"x": {"crc32": 7}}})
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_second_coordinator_is_refused(tmp_path):
    with Store(tmp_path / "a.db", SUBJECT), Store(tmp_path / "b.db", SUBJECT):
        run = subprocess.run(
            [sys.executable, "-c", SECOND, str(tmp_path / "a.db")], capture_output=True, text=True, check=True
        )
    assert run.stdout.startswith("StoreError Store: expected no other coordinator of")
    assert not list(tmp_path.glob("*.lock"))


def test_a_store_that_another_object_of_this_program_took_over_is_not_written(tmp_path):
    first = Store(tmp_path / "a.db", SUBJECT)
    with Store(tmp_path / "a.db", SUBJECT), pytest.raises(StoreError, match="another coordinator"):
        first.put(unit(1), Outcome("done"))
    first.close()


def test_a_full_disk_leaves_what_was_stored(tmp_path):
    path = tmp_path / "a.db"
    with Store(path, SUBJECT) as store:
        store.put(unit(1), Outcome("done", result={"figure": 1.0}))
        pages = store._file.execute("PRAGMA page_count").fetchone()[0]
        store._file.execute(f"PRAGMA max_page_count={pages}")  # what SQLite says of a full disk
        with pytest.raises(StoreError, match=r"full.*What was stored before is whole"):
            store.put(unit(2), Outcome("done", state=bytes(100_000)))
    assert [row.columns["number"] for row in Store.reading(path)[1]] == [1]


def test_what_is_too_large_for_sqlite_is_refused_with_words(tmp_path):
    with Store(tmp_path / "a.db", SUBJECT) as store:
        store._file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)  # 1 GB by default
        with pytest.raises(StoreError, match="that SQLite can hold"):
            store.put(unit(1), Outcome("done", state=bytes(20_000)))
        store.put(unit(2), Outcome("done"))
        assert [row.columns["number"] for row in store.rows()] == [2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused_and_can_be_read(tmp_path):
    with Store(tmp_path / "a.db", SUBJECT) as store:
        store.put(unit(1), Outcome("done"))
    tmp_path.chmod(0o500)
    try:
        for name in ("a.db", "b.db"):
            with pytest.raises(StoreError, match="expected to write in"):
                Store(tmp_path / name, SUBJECT)
        assert len(Store.reading(tmp_path / "a.db")[1]) == 1
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder"):
        Store(tmp_path / "none" / "a.db", SUBJECT)
    with pytest.raises(FileNotFoundError, match="expected a study at"):
        Store.reading(tmp_path / "none.db")


def test_a_digest_is_the_same_in_every_process_and_differs_where_the_parts_do():
    parts = [
        (1,), (1.0,), ("1",), (True,), (None,), ([1, 2],), ({"a": 1},), ({"a": 2},), (np.arange(3.0),),
        (np.arange(3.0, dtype=np.float32),), (np.zeros((3, 1)),), (Adam(),), (Adam(beta2=0.9),), (work.square,),
        (work.failing,), (Space(lr=Log(1, 2)),), (Space(lr=Choice(1, 2)),), (1, 2), ([1], 2), (0.1 + 0.2,), (0.3,),
    ]  # fmt: skip
    assert len({digest(*part) for part in parts}) == len(parts)
    code = (
        "from minnet.experiments import digest; import numpy as np; print(digest({'b': 0.1, 'a': np.arange(3.0)}, 'x'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == digest({"a": np.arange(3.0), "b": 0.1}, "x")
    with pytest.raises(TypeError, match="whose repr says what it is"):
        digest(object())
