"""Data sets by name: downloads from a server on this machine, whole, damaged, cut and slow."""

import gzip
import hashlib
import io
import logging
import os
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from minnet import datasets
from minnet.data import cifar as cifar_files
from minnet.data import downloads, fetching, sources
from minnet.data.sources import SOURCES, File, Source

pytest.importorskip("pooch", reason="pooch is not installed: fetching data is not tested")

TEXT = np.random.default_rng(0).integers(97, 123, 100_000).astype(np.uint8).tobytes()  # 100 kB of letters
EACH = {"mnist", "fashion_mnist", "cifar10", "cifar100", "shakespeare"}


class Server(ThreadingHTTPServer):
    """Serves bytes by path. What is in ``ways`` for a path happens to its next requests, one by one."""

    daemon_threads = False
    block_on_close = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents, self.ways, self.requests = {}, {}, []
        self.ending = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # no request of a test takes so long, so a test that fails ends

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.lstrip("/")
        self.server.requests.append((path, self.headers.get("Range")))
        content = self.server.contents.get(path)
        if content is None:
            self.send_error(404)
            return
        ways = self.server.ways.get(path, [])
        (ways.pop(0) if ways else whole)(self, content)


def answer(handler, content, status=200, **headers):
    """Send the head of an answer with the length of its content."""
    handler.send_response(status)
    for name, value in {"Content-Length": len(content), **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def whole(handler, content):
    """The file, or the part of it that is asked for."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if start >= len(content):
        answer(handler, b"", 416, Content_Range=f"bytes */{len(content)}")
    elif asked:
        answer(handler, content[start:], 206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.wfile.write(content[start:])
    else:
        answer(handler, content)
        handler.wfile.write(content)


def without_ranges(handler, content):
    answer(handler, content)
    handler.wfile.write(content)


def cut(after):
    """A connection that ends after a number of bytes of what was promised."""

    def way(handler, content):
        answer(handler, content)
        handler.wfile.write(content[:after])

    return way


def cut_without_a_length(handler, content):
    """A connection whose end is the end of the answer, as HTTP/1.0 has it."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[:70_000])


def damaged(handler, content):
    whole(handler, content[:-1] + bytes([content[-1] ^ 1]))


def longer(handler, content):
    whole(handler, content + b"and more")


def shorter(handler, content):
    whole(handler, content[:90_000])


def another_part(handler, content):
    answer(handler, content[:100], 206, Content_Range=f"bytes 0-99/{len(content)}")
    handler.wfile.write(content[:100])


def busy(handler, content):
    handler.send_error(503)


def trickling(handler, content):
    """The file in many small pieces."""
    answer(handler, content)
    for start in range(0, len(content), 5_000):
        handler.wfile.write(content[start : start + 5_000])
        handler.wfile.flush()
        handler.server.ending.wait(0.001)


def silent(after):
    """A server that says no more after some bytes, until the test ends."""

    def way(handler, content):
        answer(handler, content)
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        handler.server.ending.wait(10)

    return way


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.ending.set()
            running.shutdown()
            thread.join()


@pytest.fixture
def texts(server, monkeypatch):
    """A source of one file of 100 kB, in place of Shakespeare."""
    server.contents["input.txt"] = TEXT
    source = Source(datasets.shakespeare, (server.address,), (file_of("input.txt", TEXT),))
    monkeypatch.setitem(SOURCES, "shakespeare", source)
    return source


def file_of(name, content):
    return File(name, hashlib.sha256(content).hexdigest(), len(content))


def fetched(folder, **given):
    return datasets.fetch("shakespeare", folder, **given)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def part_of(folder):
    return folder / "shakespeare" / ".input.txt.part"


# What is fetched ----------------------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_read_as_its_reader_does(texts, server, tmp_path):
    text = fetched(tmp_path / "new" / "folder")
    assert text.characters == TEXT.decode()
    assert files(tmp_path) == ["new/folder/shakespeare/input.txt"]
    server.requests.clear()
    server.contents.clear()
    assert fetched(str(tmp_path / "new" / "folder")).characters == TEXT.decode()
    assert server.requests == []


def test_the_cache_of_the_user_is_the_place_by_default(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    datasets.fetch("shakespeare")
    assert files(tmp_path) == ["minnet/shakespeare/input.txt"]


def test_a_relative_folder_is_one_of_the_current_folder(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetched("here")
    assert files(tmp_path) == ["here/shakespeare/input.txt"]


def idx(values):
    header = bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return gzip.compress(header + values.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_and_its_kind_are_four_files_in_a_folder_of_their_own(name, server, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    contents = {}
    for file, n in zip(SOURCES[name].files, (7, 7, 4, 4), strict=True):
        shape = (n, 28, 28) if "images" in file.name else (n,)
        contents[file.name] = idx(rng.integers(0, 10, shape).astype(np.uint8))
    server.contents |= contents
    made = tuple(file_of(file, content) for file, content in contents.items())
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], addresses=(server.address,), files=made))
    found = datasets.fetch(name, tmp_path)
    assert files(tmp_path) == sorted(f"{name}/{file}" for file in contents)
    for ours, read in zip(found, getattr(datasets, name)(tmp_path / name), strict=True):
        np.testing.assert_array_equal(ours[0], read[0])
        np.testing.assert_array_equal(ours[1], read[1])
    server.requests.clear()
    (tmp_path / name / made[2].name).write_bytes(b"spoilt")
    datasets.fetch(name, tmp_path)
    assert [path for path, _ in server.requests] == [made[2].name], "only what is not whole is fetched again"


def archive_of(contents, folder):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def served_archive(name, server, monkeypatch, lost=None):
    """Put an archive of small records on the server in place of a data set; returns its content and its files."""
    monkeypatch.setattr(cifar_files, "_RECORDS", 2)
    rng = np.random.default_rng(0)
    labels = 1 if name == "cifar10" else 2
    contents = {}
    for file in SOURCES[name].files:
        table = rng.integers(0, 10, (10 if file.name == "train.bin" else 2, labels + 3072)).astype(np.uint8)
        contents[file.name] = table.tobytes()
    within = {file: content for file, content in contents.items() if file != lost}
    packed = archive_of({**within, "readme.html": b"<p>", "batches.meta.txt": b"airplane"}, "any-folder")
    archive = file_of(SOURCES[name].archive.name, packed)
    server.contents[archive.name] = packed
    made = tuple(file_of(file, content) for file, content in contents.items())
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], addresses=(server.address,), files=made, archive=archive))
    return archive, packed, contents


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_archive_is_fetched_unpacked_and_removed(name, server, tmp_path, monkeypatch):
    _, _, contents = served_archive(name, server, monkeypatch)
    found = datasets.fetch(name, tmp_path)
    assert files(tmp_path) == sorted(f"{name}/{file}" for file in contents)
    assert all((tmp_path / name / file).read_bytes() == content for file, content in contents.items())
    for ours, read in zip(found, getattr(datasets, name)(tmp_path / name), strict=True):
        np.testing.assert_array_equal(ours[0], read[0])
        np.testing.assert_array_equal(ours[1], read[1])
    server.requests.clear()
    datasets.fetch(name, tmp_path)
    assert server.requests == []


def test_an_archive_that_somebody_put_there_is_used_and_kept(server, tmp_path, monkeypatch):
    archive, packed, contents = served_archive("cifar100", server, monkeypatch)
    (tmp_path / "cifar100").mkdir()
    (tmp_path / "cifar100" / archive.name).write_bytes(packed)
    datasets.fetch("cifar100", tmp_path)
    assert server.requests == []
    assert files(tmp_path) == sorted(f"cifar100/{file}" for file in (*contents, archive.name))


def test_an_archive_without_a_file_is_refused(server, tmp_path, monkeypatch):
    served_archive("cifar10", server, monkeypatch, lost="data_batch_3.bin")
    with pytest.raises(ValueError, match=r"^fetch: expected data_batch_3\.bin in .*tar\.gz"):
        datasets.fetch("cifar10", tmp_path)


def test_a_link_in_an_archive_is_no_file_of_it(server, tmp_path, monkeypatch):
    archive, _, contents = served_archive("cifar100", server, monkeypatch)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in contents:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(member)
    server.contents[archive.name] = packed.getvalue()
    changed = replace(SOURCES["cifar100"], archive=file_of(archive.name, packed.getvalue()))
    monkeypatch.setitem(SOURCES, "cifar100", changed)
    with pytest.raises(ValueError, match=r"^fetch: expected train\.bin, test\.bin in"):
        datasets.fetch("cifar100", tmp_path)
    assert files(tmp_path) == [f"cifar100/{archive.name}"]


# Downloads that fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [cut(60_000), cut_without_a_length, silent(60_000)], ids=["cut", "no length", "silent"])
def test_a_download_that_broke_off_goes_on_where_it_was(way, texts, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_PATIENCE", 0.3)
    server.ways["input.txt"] = [way]
    with pytest.raises(ConnectionError, match=r"^fetch: expected input\.txt whole.*it (broke off|is silent)") as caught:
        fetched(tmp_path)
    assert not (tmp_path / "shakespeare" / "input.txt").exists()
    have = part_of(tmp_path).stat().st_size
    assert 40_000 < have <= 70_000
    assert f"{have} of 100000 bytes are kept" in str(caught.value)
    assert part_of(tmp_path).read_bytes() == TEXT[:have]
    assert fetched(tmp_path).characters == TEXT.decode()
    assert server.requests == [("input.txt", None), ("input.txt", f"bytes={have}-")]
    assert files(tmp_path) == ["shakespeare/input.txt"]


def test_a_server_without_ranges_sends_the_whole_file_again(texts, server, tmp_path):
    server.ways["input.txt"] = [cut(60_000), without_ranges]
    with pytest.raises(ConnectionError):
        fetched(tmp_path)
    assert fetched(tmp_path).characters == TEXT.decode()


def test_a_partial_file_that_is_whole_needs_no_server(texts, server, tmp_path):
    """As a process leaves it that is killed just before the file gets its name."""
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(TEXT)
    fetched(tmp_path)
    assert server.requests == []
    assert files(tmp_path) == ["shakespeare/input.txt"]


def test_a_partial_file_that_is_too_long_is_not_gone_on_with(texts, server, tmp_path):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(TEXT + b"x")
    fetched(tmp_path)
    assert server.requests == [("input.txt", None)]


def test_a_partial_file_of_other_bytes_costs_one_attempt(texts, server, tmp_path):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(b"x" * 50_000)
    with pytest.raises(ValueError, match=r"^fetch: expected input\.txt whole, with its known checksum"):
        fetched(tmp_path)
    assert files(tmp_path) == []
    assert fetched(tmp_path).characters == TEXT.decode()


@pytest.mark.parametrize(
    ("way", "words"),
    [(damaged, "does not match the known hash"), (longer, "it has more bytes, and 100000 are expected")],
)
def test_what_a_server_sends_that_is_not_the_file_never_gets_its_name(way, words, texts, server, tmp_path):
    server.ways["input.txt"] = [way]
    with pytest.raises(ValueError, match=rf"^fetch: expected input\.txt whole, with its known checksum; got .*{words}"):
        fetched(tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize("way", [shorter, another_part])
def test_a_rest_that_does_not_go_on_is_refused_and_the_next_call_begins_anew(way, texts, server, tmp_path):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(TEXT[:95_000])
    server.ways["input.txt"] = [way]
    with pytest.raises(ValueError, match=r"it (has fewer than 95000 bytes|sent 'bytes 0-99/100000' instead)"):
        fetched(tmp_path)
    assert files(tmp_path) == []
    fetched(tmp_path)
    assert server.requests[-1] == ("input.txt", None)


def test_a_slow_download_arrives(texts, server, tmp_path):
    server.ways["input.txt"] = [trickling]
    assert fetched(tmp_path).characters == TEXT.decode()


def test_a_damaged_file_in_the_cache_is_replaced(texts, server, tmp_path):
    place = tmp_path / "shakespeare" / "input.txt"
    place.parent.mkdir()
    place.write_bytes(TEXT[:-1] + b"?")
    assert fetched(tmp_path).characters == TEXT.decode()
    assert place.read_bytes() == TEXT


def test_a_damaged_file_stays_while_no_other_can_be_had(texts, server, tmp_path):
    place = tmp_path / "shakespeare" / "input.txt"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    server.ways["input.txt"] = [damaged]
    with pytest.raises(ValueError, match=r"^fetch"):
        fetched(tmp_path)
    assert place.read_bytes() == b"mine"


def closed_port():
    """The address of a port of this machine on which nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        return f"http://127.0.0.1:{closed.server_port}/"


def test_without_a_network_the_error_says_so_and_where_a_file_may_be_put(texts, monkeypatch, tmp_path):
    nobody = closed_port()
    monkeypatch.setitem(SOURCES, "shakespeare", replace(texts, addresses=(nobody,)))
    with pytest.raises(ConnectionError) as caught:
        fetched(tmp_path)
    assert str(caught.value) == (
        f"fetch: expected input.txt whole, with its known checksum; got from {nobody}: it cannot be reached (is this "
        f"machine offline?). A file from elsewhere may be put into {tmp_path / 'shakespeare'}; its checksum is compared"
    )
    (tmp_path / "shakespeare" / "input.txt").write_bytes(TEXT)
    assert fetched(tmp_path).characters == TEXT.decode()


@pytest.mark.parametrize("way", [busy, damaged, cut(60_000)], ids=["busy", "damaged", "cut"])
def test_the_next_address_is_tried_where_one_fails(way, texts, server, tmp_path, monkeypatch):
    server.contents["mirror/input.txt"] = TEXT
    server.ways["input.txt"] = [way]
    monkeypatch.setitem(
        SOURCES, "shakespeare", replace(texts, addresses=(closed_port(), server.address, f"{server.address}mirror/"))
    )
    assert fetched(tmp_path).characters == TEXT.decode()
    assert [path for path, _ in server.requests] == ["input.txt", "mirror/input.txt"]


def test_all_addresses_are_named_where_all_fail(texts, server, tmp_path, monkeypatch):
    server.contents.clear()
    monkeypatch.setitem(SOURCES, "shakespeare", replace(texts, addresses=(server.address, f"{server.address}mirror/")))
    with pytest.raises(
        ConnectionError, match=r"/: it answers 404 Not Found; from .*/mirror/: it answers 404 Not Found"
    ):
        fetched(tmp_path)


def test_two_processes_do_not_fetch_into_one_folder(texts, tmp_path):
    started, going_on = threading.Event(), threading.Event()

    def hold():
        lock = fetching.FolderLock(tmp_path / "shakespeare")
        started.set()
        going_on.wait(10)
        lock.release()

    (tmp_path / "shakespeare").mkdir()
    other = threading.Thread(target=hold)
    other.start()
    started.wait(10)
    try:
        with pytest.raises(FileExistsError, match=r"^fetch: expected no other run at work in .*shakespeare"):
            fetched(tmp_path)
    finally:
        going_on.set()
        other.join()
    fetched(tmp_path)


@pytest.mark.parametrize("where", ["folder", "parent", "data set"])
def test_a_file_in_place_of_a_folder_is_named(where, texts, server, tmp_path):
    file = tmp_path / ("data/shakespeare" if where == "data set" else "data")
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(
        NotADirectoryError, match=r"fetch: expected a folder .*shakespeare that .*; got it is a file"
    ) as e:
        fetched(tmp_path / "data" / "deeper" if where == "parent" else tmp_path / "data")
    assert e.value.filename == str(file)
    assert file.read_text() == "mine"
    assert server.requests == []


@pytest.mark.parametrize("name", ["input.txt", ".input.txt.part", ".lock"])
def test_a_folder_in_place_of_a_file_is_named(name, texts, tmp_path):
    (tmp_path / "shakespeare" / name).mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"fetch: expected a folder .*shakespeare that .*; got Is a directory"):
        fetched(tmp_path)


@pytest.mark.parametrize("method", ["mkdir", "open"])
def test_a_folder_that_may_not_be_written_is_named(method, texts, tmp_path, monkeypatch):
    def refuse(path, *mode, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)  # as for a user who is not root
    words = r"fetch: expected a folder .*shakespeare that can be made and written in; got Permission denied\. Give"
    with pytest.raises(PermissionError, match=words):
        fetched(tmp_path)


def test_a_folder_that_is_no_path_is_refused(texts):
    with pytest.raises(TypeError, match=r"^fetch: expected folder as a path or None; got 3"):
        fetched(3)


def test_an_unknown_name_is_answered_with_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match=r"^fetch: expected one of the data sets mnist, .*; got 'imagenet'"):
        datasets.fetch("imagenet", tmp_path)
    assert files(tmp_path) == []


# What is shown and needed -------------------------------------------------------------------------------


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_a_bar_is_shown_on_a_terminal_or_if_asked_for(progress, shown, texts, tmp_path, capsys):
    fetched(tmp_path, progress=progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("input.txt: 100%" in captured.err) is shown
    assert shown or captured.err == ""


def test_the_bar_of_a_rest_begins_where_the_download_was_cut(texts, server, tmp_path, capsys):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(TEXT[:75_000])
    fetched(tmp_path, progress=True)
    assert "input.txt:  75%" in capsys.readouterr().err


def test_pooch_speaks_again_after_a_download(texts, tmp_path):
    logger = logging.getLogger("pooch")
    before = logger.level
    fetched(tmp_path)
    assert logger.level == before


@contextmanager
def without(monkeypatch, *names):
    """Within this context these packages are not installed."""
    with monkeypatch.context() as patch:
        for name in names:
            patch.setitem(__import__("sys").modules, name, None)
        yield


def test_without_pooch_the_error_names_the_extra_and_whole_files_are_read(texts, tmp_path, monkeypatch):
    with without(monkeypatch, "pooch", "requests"):
        with pytest.raises(ImportError, match=r"^fetch: expected pooch .* to be installed; .*minnet\[data\]"):
            fetched(tmp_path)
        (tmp_path / "shakespeare" / "input.txt").write_bytes(TEXT)
        assert fetched(tmp_path).characters == TEXT.decode()


# The table ----------------------------------------------------------------------------------------------


def test_the_table_has_a_reader_of_the_same_name_for_each_data_set():
    assert set(SOURCES) == EACH
    assert all(source.read is getattr(datasets, name) for name, source in sources.SOURCES.items())
    assert set(datasets.fetch.__doc__.split("name: ")[1].split(".\n")[0].split("``")[1::2]) == {f'"{n}"' for n in EACH}


def test_sizes_of_the_table_are_those_of_the_formats():
    record = 1 + 3 * 32 * 32
    assert {file.size for file in SOURCES["cifar10"].files} == {10_000 * record}
    assert [file.size for file in SOURCES["cifar100"].files] == [50_000 * (record + 1), 10_000 * (record + 1)]
    every = [file for source in SOURCES.values() for file in (*source.files, source.archive) if file is not None]
    assert all(len(file.sha256) == 64 and int(file.sha256, 16) for file in every)
    assert len({file.sha256 for file in every}) == len(every) == 19


@pytest.mark.data
def test_checksums_of_the_table_are_those_of_the_real_files(data_folder):
    for name, folder, whole_ones in (
        ("mnist", "mnist", 4),
        ("cifar10", "cifar10", 5),
        ("shakespeare", "tinyshakespeare", 1),
    ):
        found = [file for file in SOURCES[name].files if (data_folder / folder / file.name).exists()]
        assert len(found) >= whole_ones
        assert all(file.is_whole(data_folder / folder) for file in found)


@pytest.mark.data
def test_the_real_mnist_is_fetched_with_its_published_checksums(server, tmp_path, monkeypatch, data_folder):
    for file in SOURCES["mnist"].files:
        server.contents[file.name] = (data_folder / "mnist" / file.name).read_bytes()
    server.ways["train-images-idx3-ubyte.gz"] = [cut(5_000_000)]
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], addresses=(server.address,)))
    with pytest.raises(ConnectionError):
        datasets.fetch("mnist", tmp_path)
    (x, y), (test_x, _) = datasets.fetch("mnist", tmp_path)
    assert (x.shape, test_x.shape, y[:5].tolist()) == ((60000, 28, 28, 1), (10000, 28, 28, 1), [5, 0, 4, 1, 9])


@pytest.fixture
def data_folder():
    folder = os.environ.get("MINNET_DATA")
    if not folder:
        pytest.skip("MINNET_DATA is unset: checksums are not compared with the real files")
    return Path(folder)
