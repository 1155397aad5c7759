"""Lists of kernel calls that are noted once and then made by compiled code, again and again.

``program`` turns noted calls into a program with tables of arrays and numbers; ``emit`` compiles it. Both know nothing
of layers or training; ``training/recorded`` says what the calls of a training step are.
"""

from ..calls import Call, Tape, noted_on, noting
from .program import NotRecordableError, Program

__all__ = ["Call", "NotRecordableError", "Program", "Tape", "noted_on", "noting"]
