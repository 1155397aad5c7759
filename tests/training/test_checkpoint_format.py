"""The format of a checkpoint: memory of reading it, its header, and what others read in it."""

import json
import warnings

import numpy as np
import pytest
import stress_resume as stress

import minnet as mn
from minnet.storage import archive, tensorfile

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


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
