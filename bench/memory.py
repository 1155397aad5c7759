"""Peak memory of a training step: minnet beside the peers of bench/speed.py. Linux only.

    python bench/memory.py                     every workload, every peer that is installed

What counts is how far a process grows beyond its state after import: batch, weights, gradients, state of the update
rule, activations and working memory, but neither libraries nor compilers. Each workload and peer has a new process. It
first takes a step on a batch of 2 and lets go of that network, so that compilers and pools of threads are part of the
state compared with; then it builds the network, takes a step, forgets the peak so far and takes three more.
"""

import argparse
import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

from peers import FIT, PEERS, Process, limit_threads
from workloads import WORKLOADS

import minnet as mn
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"


def status(name: str) -> int:
    """A size in bytes from what Linux tells of this process: VmRSS is held now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def measure(pipe: Any, name: str, workload: str, threads: int) -> None:
    peer = PEERS[name]
    limit_threads(peer.library, threads)
    runner = peer.start(WORKLOADS[workload], batch=2)
    runner.step()
    del runner
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # hand freed memory back, or the network would move in there unseen
    before = status("VmRSS")
    runner = peer.start(WORKLOADS[workload])
    runner.step()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far becomes what is held now
    for _ in range(3):
        runner.step()
    pipe.recv()  # nothing but the one question is asked
    pipe.send(status("VmHWM") - before)


def peak(name: str, workload: str, threads: int) -> int:
    """Bytes that the peer's process grows by."""
    process = Process(threads, measure, name, workload, threads)
    found = process.ask("peak")
    process.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", help=f"of {', '.join(map(repr, PEERS))}")
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    parser.add_argument("--out", type=Path, default=OUT, help="folder of memory.json")
    arguments = parser.parse_args()
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("memory.py: expected Linux, which tells a process its peak memory; found no /proc/self/clear_refs")
    unknown = set(arguments.workloads) - WORKLOADS.keys()
    if unknown:
        parser.error(f"expected workloads of {', '.join(WORKLOADS)}; got {', '.join(sorted(unknown))}")
    names = [name for name in arguments.peers or PEERS if name != FIT and PEERS[name].is_there()]
    print(f"| workload | {', MB | '.join(names)}, MB |\n" + "|---" * (len(names) + 1) + "|")
    results = {}
    for workload in arguments.workloads or WORKLOADS:
        usable = [name for name in names if PEERS[name].suits(workload)]
        found = {name: peak(name, workload, arguments.threads) for name in usable}
        cells = [f"{found[name] / 1e6:.1f}" if name in found else "-" for name in names]
        print(f"| {workload} | {' | '.join(cells)} |", flush=True)
        results[workload] = found
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "memory.json", json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
