"""Feed damaged, random and malicious files to everything in minnet that reads files.

    python tests/shared/hostile_files.py 12000

makes so many files from whole ones (bits flipped, bytes overwritten, inserted, removed or repeated, ends cut off,
lengths changed, noise; of checkpoints and ensembles also other documents and arrays under a right checksum) and reads
each. A file must be refused by an error that says what was expected, or be read as what it then says: no other error,
no code run, no memory beyond a few times the file's size. Documents and headers made to expand, as large as are
still read and larger, may take twice the file's size and 4 MiB, of Python's memory and of the process' as Linux counts
it. Prints what came of each kind; the exit status is 1 if one did not.
"""

import argparse
import copy
import gzip
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from stress_resume import CASES

import minnet as mn
from minnet import datasets
from minnet.data import cifar as cifar_files
from minnet.storage import archive, tensorfile

CODE = ("exec", "compile", "import", "os.", "subprocess.", "pickle.", "marshal.", "ctypes.", "socket.", "shutil.")
# They tell what is in a folder, and where the memory of an array starts.
HARMLESS = ("os.listdir", "os.scandir", "os.stat", "ctypes.addressof", "ctypes.cdata", "ctypes.cdata/buffer")
MEMORY = 2**18  # bytes that reading may take beyond a few times the file
TIMES = 8
ARCHIVE = 2**22  # the same of a checkpoint's file alone, without what a run makes of it: once for arrays, once beside
PAGES = 2**21  # of the allocators, which take memory from the system by the megabyte


@dataclass
class Outcome:
    """What came of the files of one kind."""

    refused: int = 0
    read: int = 0
    bad: list[str] = field(default_factory=list)
    most: float = -math.inf  # memory beyond so many times the file's size, in bytes


# Damages -----------------------------------------------------------------------------------------------------


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to four things wrong."""
    out = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(out) + 1)) if rng.random() < 0.5 else int(rng.integers(0, min(64, len(out)) + 1))
        length = int(rng.integers(1, 1 + max(1, min(64, len(out) - at))))
        kind = rng.integers(0, 8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at : at + length] = rng.bytes(min(length, max(0, len(out) - at)))
        elif kind == 2:
            out[at:at] = rng.bytes(length)
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            del out[at:]
        elif kind == 6:  # numbers that are lengths, counts or offsets somewhere
            number = (0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1)[rng.integers(0, 8)]
            out[at : at + 8] = struct.pack(str(rng.choice(["<Q", ">Q"])), number)
        else:
            out[at : at + 1] = bytes([int(rng.choice(list(b'[]{}",:0-9e.\\$\x00\xff')))])
    return bytes(out)


JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**62, 2**64, -(2**70), 10**400, 0.0, -1.5, 1e308, math.nan, math.inf),
    *("", "x", "__import__('os').system('true')", "0" * 1000, [], [[]], {}, {"$array": "0.W"}, {"$array": "none"}),
    *({"$array": ["0.W"]}, {"$float": "nan"}, {"$float": "1e5"}, {"$number": "float32", "value": "x"}),
    *({"$number": "object", "value": 1}, {"$number": "int8", "value": 2**40}, {"$array": "/optimizer/state"}),
    [[[[[[[[]]]]]]]] * 20,
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inside for place in places(item, (*at, key)))]


def malicious(document: Any, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Another document and other arrays, as JSON text."""
    document, arrays = copy.deepcopy(document), dict(arrays)
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.75:
            place = places(document)[int(rng.integers(1, len(places(document))))]
            parent = document
            for key in place[:-1]:
                parent = parent[key]
            if rng.random() < 0.2:
                del parent[place[-1]]
            else:
                parent[place[-1]] = copy.deepcopy(JUNK[int(rng.integers(0, len(JUNK)))])
        else:
            name = str(rng.choice(list(arrays)))
            kind = rng.integers(0, 5)
            if kind == 0:
                del arrays[name]
            elif kind == 1:
                arrays[name] = arrays[name].reshape(-1)[: int(rng.integers(0, 4))].copy()
            elif kind == 2:
                arrays[name] = arrays[name].astype(str(rng.choice(["f2", "f4", "f8", "i8", "u1", "?"])))
            elif kind == 3:
                arrays[name] = np.full_like(arrays[name], np.nan if arrays[name].dtype.kind == "f" else 7)
            else:
                arrays[str(rng.choice(["x", "/a", "0.W"]))] = np.zeros((0, 2**40), np.float32)
        if not arrays or not places(document)[1:]:
            break
    text = json.dumps(document)
    if rng.random() < 0.05:
        text = str(rng.choice(["[" * 5000, '{"a":' * 5000, "1" * 5000, "nul", '"', "[]", "7"]))
    return text, arrays


# What reads --------------------------------------------------------------------------------------------------


def under_a_right_checksum(whole: Path, rng: np.random.Generator) -> bytes:
    """A file with the whole one's arrays and document changed, and a checksum that fits."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file, save

    with safe_open(whole, "numpy") as file:
        metadata = dict(file.metadata())
    while True:
        text, arrays = malicious(json.loads(metadata["document"]), load_file(whole), rng)
        metadata |= {"document": text, "blake2b": archive._checksum(text, arrays)}
        try:
            return save(arrays, metadata)
        except (SafetensorError, OverflowError):
            continue


class Checkpoints:
    """Checkpoints of five runs: bytes at random, or content under a right checksum."""

    times, free = TIMES, MEMORY

    def __init__(self, folder: Path, checked: bool) -> None:
        self.folder, self.checked = folder, checked
        self.files = []
        self.own = 3 * 2**20  # activations of the nets and state of their rules, which are no matter of the file's
        for name in ("mlp", "convolutional", "early stopping", "averages", "monitors"):
            trainer = CASES[name].start()
            for record in trainer:
                if record.step == 9:
                    trainer.save(folder / f"{name}.ckpt")
                    break
            self.files.append((name, (folder / f"{name}.ckpt").read_bytes()))

    def make(self, rng: np.random.Generator) -> Path:
        self.case, raw = self.files[int(rng.integers(0, len(self.files)))]
        path = self.folder / "hostile.ckpt"
        if not self.checked:
            path.write_bytes(mutate(raw, rng) if rng.random() < 0.9 else rng.bytes(int(rng.integers(0, 5000))))
            return path
        path.write_bytes(under_a_right_checksum(self.folder / f"{self.case}.ckpt", rng))
        return path

    def prepare(self) -> None:
        """What the reader is handed, made before memory is counted."""
        self.given, self.net, self.data = CASES[self.case].given(), CASES[self.case].net(), CASES[self.case].data()
        self.before = self.net.params.copy(), self.net.buffers.copy()

    def read(self, path: Path) -> str | None:
        """Resume from the file; what is wrong, if the error came after something had changed."""
        try:
            trainer = mn.Trainer.resume(path, self.net, self.data, **self.given)
        except Exception:
            if not all(map(np.array_equal, (self.net.params, self.net.buffers), self.before)):
                return "refused, but the net has changed"
            raise
        assert trainer.step <= trainer.steps
        return None


class Ensembles:
    """The file of an ensemble: bytes at random, or content under a right checksum."""

    times, free = TIMES, MEMORY

    def __init__(self, folder: Path) -> None:
        self.whole, self.path, self.net = folder / "whole", folder / "hostile", CASES["mlp"].net()
        self.own = 2**20  # the ensemble's net
        mn.Ensemble(self.net, [self.net, self.net.twin(seed=1)], steps=[3, 4]).save(self.whole)

    def make(self, rng: np.random.Generator) -> Path:
        changed = rng.random() < 0.7
        content = under_a_right_checksum(self.whole, rng) if changed else mutate(self.whole.read_bytes(), rng)
        self.path.write_bytes(content)
        return self.path

    def prepare(self) -> None:
        pass

    def read(self, path: Path) -> None:
        ensemble = mn.Ensemble.load(path, self.net)
        assert abs(ensemble.weights.sum() - 1) < 1e-9
        assert all(isinstance(name, str) for name in ensemble.names)
        assert np.isfinite(ensemble.predict(np.zeros((2, 6), np.float32))).all()


class Files:
    """Data files: one is damaged, the others of its set are whole."""

    times, free = TIMES, MEMORY

    def __init__(self, folder: Path, files: dict[str, bytes], read: Callable[[Path], Any]) -> None:
        self.folder, self.files, self._read = folder, files, read
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
        self.last = next(iter(files))
        self.own = 0

    def make(self, rng: np.random.Generator) -> Path:
        (self.folder / self.last).write_bytes(self.files[self.last])
        self.last, self.own = str(rng.choice(list(self.files))), 0
        raw = self.files[self.last]
        if self.last.endswith(".gz") and rng.random() < 0.5:  # under a right gzip checksum
            bomb = bytes(10**6) if rng.random() < 0.1 else b""
            content = mutate(gzip.decompress(raw), rng) + bomb
            raw, self.own = gzip.compress(content), 3 * len(content)
        else:
            raw = mutate(raw, rng) if rng.random() < 0.9 else rng.bytes(int(rng.integers(0, 5000)))
        (self.folder / self.last).write_bytes(raw)
        return self.folder / self.last

    def prepare(self) -> None:
        pass

    def read(self, path: Path) -> None:
        self._read(path)


ITEMS = {  # of which a document has as many as may still be read, and some more
    **{
        "lists": "[]",
        "dicts": "{}",
        "dicts of one": '{"":0}',
        "lists of one": "[0]",
        "texts": '""',
        "short texts": '"ab"',
    },
    **{"floats": "1e9", "whole numbers": "9999", "nested lists": "[" * 300 + "]" * 300},
    **{"nested dicts": '{"":' * 200 + "0" + "}" * 200, "long texts": f'"{"x" * 5000}"'},
    **{
        "wide texts": f'"{"x" * 200}\\ud83d\\ude00"',
        "escapes": '"' + "\\\\" * 100 + '"',
        "numbers": '{"$float":"nan"}',
    },
}
TENSOR = '"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
AXES = TENSOR.replace("[0]", f"[{','.join('0' * 30)}]")
HEADERS: dict[str, tuple[str, str]] = {  # what is repeated, {} being a number, and what it is put into
    "tensors": (TENSOR, "{}"),
    "tensors of many axes": (AXES, "{}"),
    "tensors of one name": (TENSOR.replace("{}", "x"), "{}"),
    "a shape": ("0", '"x":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}}'),
    "lists in a tensor": ("[]", '"x":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"y":[{}]}}'),
    "lists for a tensor": ("[]", '"x":[{}]'),
    "metadata": ('"{}":""', '"__metadata__":{{{}}}'),
}


class Expanding:
    """Checkpoints under a right checksum whose document, or header, becomes many small objects as it is read."""

    times, free, own = 2, ARCHIVE, 0

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hostile.ckpt"

    def make(self, rng: np.random.Generator) -> Path:
        kinds = [*ITEMS, "keys", "one key", *HEADERS]
        kind = kinds[int(rng.integers(0, len(kinds)))]
        data = np.zeros(int(2 ** rng.uniform(4, 21)), np.uint8)
        share = rng.uniform(0.7, 1.3)  # of what may be read
        metadata = {"format": archive.CHECKPOINT, "version": "1"}
        if kind in HEADERS:
            item, around = HEADERS[kind]
            many = int(2 ** rng.uniform(10, 16))
            text = around.format(",".join(item.format(f"{i:x}") for i in range(many)))
            shape = {"tensors": (0,), "tensors of many axes": (0,) * 30}.get(kind)
            empty = {} if shape is None else {f"{i:x}": np.zeros(shape, np.uint8) for i in range(many)}
            metadata |= {"document": "{}", "blake2b": archive._checksum("{}", empty)}
            header = f'{{"__metadata__":{json.dumps(metadata)},{text}}}'.encode()
            tail = b"" if empty else bytes(data)
            self.path.write_bytes(struct.pack("<Q", len(header)) + header + tail)
            return self.path
        item = ITEMS.get(kind, '"{:06x}":0' if kind == "keys" else '"a":0')
        once = tensorfile.memory_of_json(item + ",")
        many = int(share * (len(data) + ARCHIVE) / (once - share * len(item))) + 1
        items = [item.format(i) for i in range(many)] if kind == "keys" else [item] * many
        text = f'{{"x":{{{",".join(items)}}}}}' if kind.endswith(("keys", "key")) else f'{{"x":[{",".join(items)}]}}'
        from safetensors.numpy import save

        metadata |= {"document": text, "blake2b": archive._checksum(text, {"0.W": data})}
        self.path.write_bytes(save({"0.W": data}, metadata))
        return self.path

    def prepare(self) -> None:
        pass

    def read(self, path: Path) -> None:
        archive.read(path)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def readers(folder: Path) -> dict[str, Any]:
    """Everything that reads, by name."""
    rng = np.random.default_rng(0)

    def make(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    images = {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (6, 28, 28))),
        "train-labels-idx1-ubyte": idx(rng.integers(0, 10, 6)),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (3, 28, 28))),
        "t10k-labels-idx1-ubyte": idx(rng.integers(0, 10, 3)),
    }
    packed = {f"{name}.gz": gzip.compress(raw) for name, raw in images.items()}
    record = rng.integers(0, 10, 3073).astype(np.uint8).tobytes()
    cifar = {**{f"data_batch_{i}.bin": record * 2 for i in range(1, 6)}, "test_batch.bin": record * 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trainer = CASES["early stopping"].start()
        history = trainer.run(progress=False)
        checkpoints = Checkpoints(make("checkpoints"), False), Checkpoints(make("contents"), True)
    for suffix in ("csv", "json"):
        history.save(folder / f"history.{suffix}")
    texts = {suffix: {f"history.{suffix}": (folder / f"history.{suffix}").read_bytes()} for suffix in ("csv", "json")}
    return {
        "checkpoints": checkpoints[0],
        "checkpoints under a right checksum": checkpoints[1],
        "checkpoints that expand": Expanding(make("expanding")),
        "ensembles": Ensembles(make("ensembles")),
        "MNIST": Files(make("mnist"), images, lambda path: datasets.mnist(path.parent)),
        "MNIST, gzip": Files(make("packed"), packed, lambda path: datasets.mnist(path.parent)),
        "CIFAR-10": Files(make("cifar"), cifar, lambda path: datasets.cifar10(path.parent)),
        "history, CSV": Files(make("csv"), texts["csv"], mn.History.load),
        "history, JSON": Files(make("json"), texts["json"], mn.History.load),
    }


# Reading -----------------------------------------------------------------------------------------------------

_seen: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event.startswith(CODE) and event not in HARMLESS:
        _seen.append(f"{event} {arguments[:1]}")


@contextmanager
def watched(events: list[str]) -> Any:
    """Note all that Python reports of code run, processes started and modules loaded."""
    global _seen
    _seen = events
    try:
        yield
    finally:
        _seen = None


def attempt(reader: Any, rng: np.random.Generator, outcome: Outcome) -> None:
    """One file."""
    path = reader.make(rng)
    size = sum(other.stat().st_size for other in path.parent.iterdir())  # data sets are read as a whole
    reader.prepare()
    events: list[str] = []
    problem = None
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with watched(events):
        try:
            problem = reader.read(path)
            outcome.read += 1
        except ValueError as error:  # CheckpointError too
            outcome.refused += 1
            if "expected" not in str(error):
                problem = f"an unclear refusal: {error!r}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    used = tracemalloc.get_traced_memory()[1] - before - reader.own
    outcome.most = max(outcome.most, used - reader.times * size)
    if used > reader.times * size + reader.free:
        problem = f"{used:,} bytes of memory for files of {size:,}"
    if events:
        problem = f"ran {events[:3]}"
    if problem is not None:
        outcome.bad.append(problem)


READING = """
import sys
from pathlib import Path

from minnet.storage import archive


def memory(what):
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what))


for line in sys.stdin:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    try:
        archive.read(line.rstrip())
        said = "read"
    except archive.CheckpointError:
        said = "refused"
    print(memory("VmHWM") - before, said, flush=True)
"""


def peaks(folder: Path, count: int, rng: np.random.Generator) -> Outcome:
    """The growth of a process that reads checkpoints that expand: memory of whatever is in it, as Linux counts it."""
    outcome, reader = Outcome(), Expanding(folder)
    paths = os.pathsep.join([str(Path(mn.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    command, environment = [sys.executable, "-c", READING], {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(count):
            path = reader.make(rng)
            print(path, file=process.stdin, flush=True)
            grown, said = process.stdout.readline().split()
            beyond = int(grown) - reader.times * path.stat().st_size
            outcome.most = max(outcome.most, beyond)
            if said == "read":
                outcome.read += 1
            else:
                outcome.refused += 1
            if beyond > reader.free + PAGES:
                outcome.bad.append(f"the process grew by {int(grown):,} bytes for a file of {path.stat().st_size:,}")
        process.stdin.close()
    return outcome


def torture(count: int, seed: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Outcome]:
    """Read ``count`` files in all, two thirds of them checkpoints."""
    rng = np.random.default_rng(seed)
    outcomes: dict[str, Outcome] = {}
    records, cifar_files._RECORDS = cifar_files._RECORDS, 2  # small files, or writing them would take the time
    sys.addaudithook(_audit)
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every = readers(Path(folder))
            for name, reader in every.items():
                outcome = outcomes[name] = Outcome()
                share = count / {"checkpoints that expand": 20}.get(name, 3 if name.startswith("checkpoints") else 15)
                reader.make(rng)
                attempt(reader, rng, Outcome())  # what is loaded late is loaded now
                for _ in range(math.ceil(share)):
                    attempt(reader, rng, outcome)
                say(_line(name, outcome, reader.times))
            if sys.platform == "linux":
                name = "checkpoints that expand, process"
                outcomes[name] = peaks(Path(folder), math.ceil(count / 20), rng)
                say(_line(name, outcomes[name], Expanding.times))
    finally:
        tracemalloc.stop()
        cifar_files._RECORDS = records
    return outcomes


def _line(name: str, outcome: Outcome, times: int) -> str:
    return (
        f"{name:36} {outcome.refused:6} refused, {outcome.read:6} read, {len(outcome.bad)} wrong; "
        f"most memory beyond {times} times the files: {max(0, outcome.most) / 1024:.0f} KiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = torture(arguments.files, arguments.seed, print)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{time.perf_counter() - start:.0f} s; the process grew by {grown:.0f} MiB in all")
    for name, outcome in outcomes.items():
        for problem, times in Counter(outcome.bad).most_common(10):
            print(f"{name}: {times} times {problem[:300]}")
    return int(any(outcome.bad for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
