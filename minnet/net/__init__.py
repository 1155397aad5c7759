"""A network: its memory, its forward and backward pass, and its objective.

``net`` owns all arrays and runs the layers, ``losses`` has values and gradients of losses, ``summary`` and
``description`` say in words what a net is. This room may know the layers and the kernels, and nothing of training.
"""
