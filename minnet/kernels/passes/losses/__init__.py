"""Losses: value and gradient in one pass over the scores, and what is counted beside them.

``softmax``, ``hinge``, ``logistic`` and ``regression`` have the losses, and ``rows`` what they share. ``hits`` finds
correctly classified samples, and ``targets`` checks labels and targets.
"""
