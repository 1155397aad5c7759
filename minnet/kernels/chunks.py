"""How passes over flat arrays are shared between threads: in chunks of one size, or not at all where they are short."""

from .compile import helper

CHUNK = 16384  # elements that a thread takes at a time
SERIAL = 65536  # up to so many, waking a second thread costs more than it brings


@helper
def chunks(size):
    """Number of chunks of an array of so many elements."""
    return (size + CHUNK - 1) // CHUNK


@helper
def bounds(chunk, size):
    """First and last (exclusive) element of a chunk."""
    return chunk * CHUNK, min(size, (chunk + 1) * CHUNK)
