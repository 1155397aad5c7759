"""The learning-rate range test on the digits: claims about what it shows, with figures and a table in Markdown.

    python examples/learning_rate.py            all claims; the figures go into examples/figures/
    python examples/learning_rate.py L1 B1      those claims only

The tests of these claims are those of the main job (``claims/range_test.py``), on two networks instead of one: an MLP
of 100 hidden units and a small convolutional one; batches of 100. Every figure printed is computed in this run.
"""

import argparse
import time
from functools import partial
from pathlib import Path

from claims import CLAIMS, as_markdown, range_test
from tqdm import tqdm

TESTS = {
    "L1": partial(range_test.the_rate_where_the_loss_falls_fastest, kinds=range_test.ALL),
    "L8": partial(range_test.adam_at_3e_4, kinds=range_test.ALL),
    "C2": partial(range_test.bounds_for_cyclical_rates, kinds=range_test.ALL),
    "B1": range_test.too_low_good_too_high,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(TESTS)}; all if none")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures", help="folder for the figures")
    arguments = parser.parse_args()
    unknown = set(arguments.claims) - set(TESTS)
    if unknown:
        parser.error(f"expected claims of {', '.join(TESTS)}; got {', '.join(sorted(unknown))}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, known = time.perf_counter(), {claim.name: claim for claim in CLAIMS}
    chosen = [name for name in TESTS if name in (arguments.claims or TESTS)]
    print(
        as_markdown([(known[name], TESTS[name](arguments.out)) for name in tqdm(chosen, desc="claims", disable=None)])
    )
    print(f"{range_test.SIZES}; {time.perf_counter() - start:.0f} s; figures in {arguments.out}")


if __name__ == "__main__":
    main()
