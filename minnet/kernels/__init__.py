"""Compiled loops on arrays. This room knows nothing of layers, losses or networks.

Rules for every kernel: outputs and scratch memory are arguments, only scalars are returned, and nothing is allocated.
Scalars have the dtype of the arrays, because a float64 literal would convert a float32 loop to double precision. Code
that several kernels share is a ``helper``, which is compiled into each of them. Every kernel has a naive twin in
``tests/``.
"""
