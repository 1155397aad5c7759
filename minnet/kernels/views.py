"""Arrays of several axes seen as arrays of one axis, without the time that Numba's ``reshape`` takes."""

from numba import types
from numba.core.errors import TypingError

from . import plain
from .compile import vector_code


@vector_code(plain.flat)
def flat(typingctx, A):
    """Return A.reshape(-1) for an array in C order, without a reference count: the caller must hold A meanwhile.

    Numba's ``reshape`` calls a function that looks for the order of the elements. That takes 25 ns, as long as a
    hundred products.
    """
    if not isinstance(A, types.Array) or A.layout != "C":
        raise TypingError(f"flat: expected an array in C order; got {A}")

    def codegen(context, builder, signature, args):
        from numba.np.arrayobj import populate_array  # Numba itself imports this when it compiles the first function

        array = context.make_array(signature.args[0])(context, builder, args[0])
        view = context.make_array(signature.return_type)(context, builder)
        populate_array(
            view, data=array.data, shape=[array.nitems], strides=[array.itemsize], itemsize=array.itemsize, meminfo=None
        )
        return view._getvalue()

    return A.copy(ndim=1)(A), codegen
