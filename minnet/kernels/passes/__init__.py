"""The forward and backward passes of layers and losses, as loops over arrays."""
