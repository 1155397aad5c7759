"""A training run: the loop, its history, and what can be attached to it.

``trainer`` has the loop and ``fit``, ``callbacks`` what a callback is and may ask of a run, ``checkpoint`` and
``resume`` the files of a run. This room may know nets, optimizers, data and files.
"""
