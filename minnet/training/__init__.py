"""A training run: the loop, its history, and what can be attached to it.

``trainer`` has Trainer, ``loop`` its steps, ``fit`` a run in one call. ``callbacks`` says what a callback is and may
ask of a run. ``checkpoint``, ``saved`` and ``resume`` are about the files of a run. This room may know nets, optimizers,
data and files.
"""
