"""Elementary functions without branches or calls, so that a loop over them becomes vector code.

Each function takes a float32 or a float64 and returns the same type. The result is within 2 units in the last place
over the whole range, including denormal numbers, overflow to infinity, signed zeros and NaN. In a kernel, where
denormal numbers count as zeros, results below twice the smallest normal number may be 0. The functions of the C library
process one number at a time.

One text serves both precisions. They differ in coefficients, which ``constant`` and ``polynomial`` choose by the type
of their argument. Polynomials were fitted for the least largest relative error (Remez exchange in 50 digits) on the
reduced range that the comment beside them names, and then rounded. Muller, Elementary Functions (3rd edition 2016),
describes how ranges are reduced.

All functions are ``exact_helper``: a constant in a high and a low part, or the rounding error of a sum, has its purpose
only if the terms are not rearranged.
"""

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import exact_helper, vector_code

# Intrinsics -----------------------------------------------------------------------

_FRACTION = {32: 23, 64: 52}  # bits of the fraction; the exponent stands above them, increased by
_BIAS = {32: 127, 64: 1023}


def _llvm_types(number: Any) -> tuple[ir.Type, ir.Type]:
    """The float itself and an integer of its width."""
    return ir.FloatType() if number.bitwidth == 32 else ir.DoubleType(), ir.IntType(number.bitwidth)


def _fused(builder, kind, factor, other, term):
    name = "llvm.fma.f32" if kind == ir.FloatType() else "llvm.fma.f64"
    function = ir.FunctionType(kind, [kind] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [factor, other, term])


@vector_code(plain.fma)
def fma(typingctx, a, b, c):
    """a * b + c, rounded once."""

    def codegen(context, builder, signature, args):
        return _fused(builder, args[0].type, *args)

    return a(a, a, a), codegen


@vector_code(plain.larger)
def larger(typingctx, a, b):
    """Return the larger of two numbers, or the other one if one is NaN. Unlike max, it allows vector code."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        function = ir.FunctionType(kind, [kind] * 2)
        name = f"llvm.maxnum.f{a.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return a(a, a), codegen


def polynomial(single: tuple[float, ...], double: tuple[float, ...]) -> Any:
    """``p(x)`` = c[0] + c[1] x + c[2] x^2 + ... by Horner's rule, with the coefficients of x's precision."""

    @vector_code(plain.polynomial(single, double))
    def evaluate(typingctx, x):
        def codegen(context, builder, signature, args):
            *rest, value = (context.get_constant(x, c) for c in (single if x == types.float32 else double))
            for coefficient in reversed(rest):
                value = _fused(builder, value.type, value, args[0], coefficient)
            return value

        return x(x), codegen

    return evaluate


def constant(single: float, double: float) -> Any:
    """``c(x)``: the constant in x's precision."""
    return polynomial((single,), (double,))


@vector_code(plain.power_of_two)
def _power_of_two(typingctx, k):
    """Return 2^k for a whole number k among the exponents of normal numbers. Other k give any number."""

    def codegen(context, builder, signature, args):
        number, integer = _llvm_types(k)
        fraction = _FRACTION[k.bitwidth]
        # Added to 1.5 * 2^fraction, a whole number stands in the lowest bits.
        low = builder.fadd(args[0], context.get_constant(k, 1.5 * 2.0**fraction + _BIAS[k.bitwidth]))
        return builder.bitcast(builder.shl(builder.bitcast(low, integer), ir.Constant(integer, fraction)), number)

    return k(k), codegen


@vector_code(plain.exponent)
def _exponent(typingctx, x):
    """Return e, as a float, with x = m * 2^e and m from sqrt(1/2) to sqrt(2); any number unless x is normal and > 0."""

    def codegen(context, builder, signature, args):
        number, integer = _llvm_types(x)
        fraction = _FRACTION[x.bitwidth]
        one, least, shift = (
            builder.bitcast(context.get_constant(x, value), integer) for value in (1.0, math.sqrt(0.5), 2.0**fraction)
        )
        raised = builder.add(builder.bitcast(args[0], integer), builder.sub(one, least))  # m from 1 to 2
        low = builder.or_(builder.lshr(raised, ir.Constant(integer, fraction)), shift)
        return builder.fsub(builder.bitcast(low, number), context.get_constant(x, 2.0**fraction + _BIAS[x.bitwidth]))

    return x(x), codegen


# Exponentials ----------------------------------------------------------------------------------------------------

_SHIFT = constant(1.5 * 2.0**23, 1.5 * 2.0**52)
_LOG2_E = constant(1.4426950408889634, 1.4426950408889634)
# log(2), so that a product of the high part with an exponent is exact.
_LN2_HIGH = constant(0.693145751953125, 0.693147180559663)
_LN2_LOW = constant(1.4286068e-06, 2.8235290563031577e-13)
_EXP_LEAST, _EXP_MOST = constant(-105.0, -746.0), constant(89.0, 710.0)  # beyond: 0 and infinity
_EXPM1_LEAST = constant(-18.0, -40.0)  # below: -1
_EXP_LEFT_LEAST = constant(-88.0, -709.0)  # from here 2^k is 0 in _power_of_two: k is one below the normal exponents
# (exp(r) - 1 - r) / r^2 for |r| up to log(2) / 2.
_EXP_REST = polynomial(
    (0.5, 0.16666543, 0.04166628, 0.008366608, 0.0013946502),
    (
        *(0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333321579, 0.001388888888886677),
        *(0.00019841269886266657, 2.480158736068967e-05, 2.7557244061469737e-06, 2.7557242647104814e-07),
        *(2.510909057857271e-08, 2.0924477835668754e-09),
    ),
)


@exact_helper
def _reduced(x, x_low):
    """Return (k, r, r_low) with x + x_low = k * log(2) + r + r_low, where k is whole and |r| is at most log(2) / 2."""
    shift = _SHIFT(x)
    k = fma(x, _LOG2_E(x), shift) - shift
    high, low = fma(-k, _LN2_HIGH(x), x), fma(-k, _LN2_LOW(x), x_low)
    r = high + low
    return k, r, (high - r) + low


@exact_helper
def _expm1_reduced(r):
    return fma(r * r, _EXP_REST(r), r)


@exact_helper
def _times_power_of_two(x, k):
    """Return x * 2^k, multiplied in two steps, because 2^k itself may not be a normal number."""
    shift = _SHIFT(x)
    half = fma(k, type(x)(0.5), shift) - shift
    return x * _power_of_two(half) * _power_of_two(k - half)


@exact_helper
def exp(x):
    """e^x."""
    bounded = _EXP_MOST(x) if x > _EXP_MOST(x) else (_EXP_LEAST(x) if x < _EXP_LEAST(x) else x)
    k, r, _ = _reduced(bounded, type(x)(0))
    return _times_power_of_two(type(x)(1) + _expm1_reduced(r), k)


@exact_helper
def _expm1_high_low(x):
    """Return (high, low) with e^x - 1 = high + low. If x is at most 0, low is all that the rounding of high lost."""
    bounded = _EXP_MOST(x) if x > _EXP_MOST(x) else (_EXPM1_LEAST(x) if x < _EXPM1_LEAST(x) else x)
    k, r, _ = _reduced(bounded, type(x)(0))
    p = _expm1_reduced(r)
    half_power = _power_of_two(k - type(x)(1))  # 2^k would overflow a little early
    less = half_power - type(x)(0.5)
    half = fma(half_power, p, less)
    half_low = fma(half_power, p, less - half)
    return half + half, half_low + half_low


@exact_helper
def expm1(x):
    """Return e^x - 1, with all digits near 0."""
    high, _ = _expm1_high_low(x)
    return math.copysign(high, x)


@exact_helper
def exp_and_expm1_left(x):
    """Return (e^x, e^x - 1) for x at most 0, or NaN; faster than ``exp`` and ``expm1``."""
    one, least, shift = type(x)(1), _EXP_LEFT_LEAST(x), _SHIFT(x)
    bounded = least if x < least else x
    k = fma(bounded, _LOG2_E(x), shift) - shift
    r = fma(-k, _LN2_LOW(x), fma(-k, _LN2_HIGH(x), bounded))
    power, p = _power_of_two(k), _expm1_reduced(r)
    return fma(power, p, power), math.copysign(fma(power, p, power - one), x)


@exact_helper
def _quotient(a, b, c):
    """Return a / (b + c) for b + c from 1 to 2 and |c| at most b, as if the sum had not been rounded.

    The rounding errors of the sum and of the quotient are in the remainder of a. A linear approximation of 1 / (b + c)
    is accurate enough to divide the remainder.
    """
    total = b + c
    total_low = c - (total - b)
    ratio = a / total
    left = fma(-ratio, total_low, fma(-ratio, total, a))
    return fma(left, fma(type(a)(-8 / 17), total, type(a)(24 / 17)), ratio)


@exact_helper
def sigmoid(x):
    """Return 1 / (1 + e^-x). The exponent is never positive, so nothing overflows. The left tail keeps its digits."""
    e = exp(-abs(x))
    one = type(x)(1)
    return _quotient(one if x > type(x)(0) else e, one, e)


@exact_helper
def tanh(x):
    """(1 - e^-2|x|) / (1 + e^-2|x|), with the sign of x."""
    size, two = abs(x), type(x)(2)
    e, e_low = _expm1_high_low(-(size + size))
    value = _quotient(-e, two, e)
    root = type(x)(1) + value  # the slope of -e / (2 + e) is -2 / (2 + e)^2, which is -root^2 / 2
    return math.copysign(value - e_low * root * root / two, x)


# Logarithms ------------------------------------------------------------------------------------------------------

_LEAST_NORMAL = constant(2.0**-126, 2.0**-1022)
_RAISE, _RAISE_EXPONENT = constant(2.0**25, 2.0**54), constant(25.0, 54.0)
# (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2, for s up to (sqrt(2) - 1) / (sqrt(2) + 1).
_LOG_REST = polynomial(
    (0.6666676, 0.3997914, 0.2983674),
    (
        *(0.6666666666666683, 0.3999999999968526, 0.2857142869150063, 0.2222220315675492),
        *(0.18183350232403536, 0.15319053883238207, 0.14749681414383248),
    ),
)


@exact_helper
def _log_assembled(f, e):
    """log((1 + f) * 2^e) = e log(2) + f - f^2 / 2 + ..., in s = f / (2 + f), as in fdlibm (Sun Microsystems 1993)."""
    s, square = f / (type(f)(2) + f), type(f)(0.5) * f * f
    z = s * s
    rest = s * fma(z, _LOG_REST(z), square)
    return fma(e, _LN2_HIGH(f), f - (square - fma(e, _LN2_LOW(f), rest)))


@exact_helper
def _log_at_the_ends(x, value):
    """Return log where it is not a finite number, and ``value`` elsewhere."""
    zero, infinite = type(x)(0), type(x)(math.inf)
    value = infinite if x == infinite else value
    value = -infinite if x == zero else value
    return value if x >= zero else type(x)(math.nan)


@exact_helper
def log(x):
    """Return the natural logarithm: -infinity at 0, NaN below."""
    small = x < _LEAST_NORMAL(x)
    raised = x * _RAISE(x) if small else x
    e = _exponent(raised)
    m = _times_power_of_two(raised, -e)
    e = e - _RAISE_EXPONENT(x) if small else e
    return _log_at_the_ends(x, _log_assembled(m - type(x)(1), e))


@exact_helper
def log1p(x):
    """Return log(1 + x), with all digits near 0."""
    one = type(x)(1)
    sum_ = one + x
    e = _exponent(sum_)
    quarter, power = type(x)(0.25), _power_of_two(type(x)(2) - e)
    scale = quarter * power  # 2^-e, which for the largest x is denormal, or 0 where those are taken for zeros
    f = fma(quarter * x, power, scale - one) if x > one else fma(x, scale, scale - one)
    # f is (1 + x) / 2^e - 1 from x itself: 1 + x has lost digits.
    return math.copysign(_log_at_the_ends(sum_, _log_assembled(f, e)), x)


@exact_helper
def log1p_of_moderate(x):
    """Return ``log1p`` for x from 0 to 2^100, or NaN; faster than ``log1p``."""
    one = type(x)(1)
    e = _exponent(one + x)
    scale = _power_of_two(-e)
    return _log_assembled(fma(x, scale, scale - one), e)


# The normal distribution -----------------------------------------------------------------------------------------

_FAR = constant(14.5, 39.0)  # from here the tail is 0
_BELL, _BELL_LOW = (
    constant(0.3989423, 0.3989422804014327),
    constant(-1.133517e-08, -2.49232720227773e-17),
)  # 1 / sqrt(2 pi)
# exp(a^2 / 2) * Phi(-a) / t in u = 2t - 1, with t = K / (K + a), for a from 0 to where the tail ends: first + u * rest.
# The first coefficient has a low part. The others were rounded one by one, each time fitting anew, by least squares of
# the relative error at Chebyshev's points, those that follow.
_K = 3.75
_TAIL_FIRST = constant(0.20007841, 0.20007841927090642)
_TAIL_FIRST_LOW = constant(6.295415e-09, -6.862074684868985e-18)
_TAIL_REST = polynomial(
    (
        *(0.15685025, 0.094117306, 0.04040445, 0.009997036, -0.000311481, -0.0011097166, -0.00016185682),
        *(0.00012461092, 2.76759e-05, -1.669342e-05),
    ),
    (
        *(0.15685024475634105, 0.09411729532748751, 0.04040449744715562, 0.009997153445002318, -0.0003115605249519522),
        *(-0.0011100982010903053, -0.00016264290842951527, 0.00012528636292769314, 3.1256078852720753e-05),
        *(-1.8686915471659217e-05, -4.5512839034632064e-06, 3.5492146089630857e-06, 4.3931469788885644e-07),
        *(-7.376455430861584e-07, 4.305229612721242e-08, 1.4263113420563613e-07, -4.108729903867878e-08),
        *(-2.079656737859198e-08, 1.330125197622768e-08, 1.1672806444165498e-09, -2.3318331033982506e-09),
        *(1.9357854714980842e-10, 1.315678318052943e-10),
    ),
)


@exact_helper
def normal_cdf_and_density(x):
    """Return (Phi(x), phi(x)) of the standard normal distribution. The left tail of Phi keeps its digits.

    Phi(-a) = exp(-a^2 / 2) * t * P(2t - 1) with t = K / (K + a), which maps 0 to infinity onto 1 to 0 (Shepherd and
    Laframboise 1981 use this for erfc). The tail magnifies the rounding errors of a^2 and of t, so both are taken into
    account.
    """
    one, two, half, K = type(x)(1), type(x)(2), type(x)(0.5), type(x)(_K)
    a = _FAR(x) if abs(x) > _FAR(x) else abs(x)
    energy = half * a * a
    energy_low = fma(half * a, a, -energy)

    total = K + a
    total_low = a - (total - K)
    t = K / total
    slip = fma(-t, total_low, fma(-t, total, K)) / K  # true t = t * (1 + slip); t * P grows by about (1 + 2t) * slip
    u = fma(two, t, -one)
    rest, first = _TAIL_REST(u), _TAIL_FIRST(u)
    shape = fma(u, rest, first)
    shape_low = fma(u, rest, first - shape) + _TAIL_FIRST_LOW(u)
    scaled = t * shape
    scaled_low = fma(scaled, slip * fma(two, t, one), fma(t, shape_low, fma(t, shape, -scaled)))

    k, r, r_low = _reduced(-energy, -energy_low)
    # exp(-a^2 / 2) / 2^k = 1 + r + curve
    curve = fma(r * r, _EXP_REST(r), r_low)
    scaled_low = fma(scaled_low, r + curve, scaled_low)
    tail = scaled + fma(scaled, r, fma(scaled, curve, scaled_low))
    bell = _BELL(x) + fma(_BELL(x), r, fma(_BELL(x), curve, _BELL_LOW(x)))
    tail, density = _times_power_of_two(tail, k), _times_power_of_two(bell, k)
    return (one - tail if x > type(x)(0) else tail), density
