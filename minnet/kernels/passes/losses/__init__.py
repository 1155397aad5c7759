"""Losses: value and gradient in one pass over the scores; checks and counts of labels and targets."""
