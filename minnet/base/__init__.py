"""What every room may use: checks of arguments, a guide for users of other libraries, keyed random numbers.

It knows nothing of the other rooms.
"""
