"""Compiled loops on arrays. They know nothing of layers, losses or networks.

Rules for every kernel: outputs and scratch are arguments, nothing is returned but scalars, nothing is
allocated; scalars arrive in the arrays' own dtype (a float64 literal would widen a float32 loop to double);
a kernel calls only functions of its own file, because Numba's disk cache does not notice when a helper in
another file changes. Every kernel has a naive twin in ``tests/``.
"""
