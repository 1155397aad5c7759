"""Compiled loops on arrays. They know nothing of layers, losses or networks.

Rules for every kernel: outputs and scratch are arguments, nothing is returned but scalars, nothing is
allocated; scalars arrive in the arrays' own dtype (a float64 literal would widen a float32 loop to double);
what several kernels share is a ``helper``, compiled into each. Every kernel has a naive twin in ``tests/``.
"""
