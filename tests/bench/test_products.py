"""``bench/products.py``: what its model adds up."""

import numpy as np
import products
import pytest


class Counts(products.Costs):
    """Costs of 1 for each multiply-add of a vector, and for each row of a panel."""

    def __init__(self):
        self.blocks = {(kind, rows): (2 * rows, 1) for rows in products.ROWS for kind in ("rows", "columns")}
        self.pack_rows, self.pack_columns = 1, 10


@pytest.mark.parametrize("rows", range(1, 100))
def test_blocks_have_room_for_all_rows_and_little_more(rows):
    sizes = list(products.rows_of_blocks(rows))
    assert set(sizes) <= set(products.ROWS)
    assert rows <= sum(sizes) < rows + products.ROWS[0]


def test_blocks_that_fit_make_each_product_once():
    M, N, K = 5 * products.ROWS[0], 3 * products.WIDTH, 700
    found = Counts().predicted(M, N, K, rows_of_A=True, rows_of_B=True)
    assert found == {"terms": M * N * K / products.LANES, "ends": 5 * 3 * 3, "packing": 3 * K}
    assert Counts().predicted(M, N, K, rows_of_A=False, rows_of_B=False) == {**found, "packing": 30 * K}
    beside = Counts().predicted(M, N + products.LANES + 1, K, rows_of_A=True, rows_of_B=True)
    assert beside == {**found, "terms": found["terms"] + M * K}  # two vectors, by half a cycle


def test_the_products_of_a_layer_are_those_of_numpy():
    n, inputs, units = 40, 70, 50
    for name, (M, N, K), *_, run in products.passes(n, inputs, units):
        run()
        C = run.__closure__[[*run.__code__.co_freevars].index("C")].cell_contents
        assert C.shape == (M, N), name
        np.testing.assert_array_equal(C, K)  # of ones
