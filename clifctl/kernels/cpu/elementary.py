"""exp, sigmoid and tanh on vectors.

In float32 they are short polynomials, the only operations of a neuron that are contracted to fused
ones; in float64 they are the C library's. NaN comes out as NaN.
"""

from typing import Any

from numba import njit

from clifctl.kernels.cpu.elementwise import (
    add,
    at_least,
    at_most,
    div,
    doubles,
    exp_double,
    exponent,
    floats,
    mul,
    muladd,
    neg,
    sub,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

# exp: Cody-Waite reduction to |r| <= ln(2)/2, a polynomial of degree 5 (Cephes), and 2**k by its
# bits. A relative error of 1e-7, between exp(LOWEST), which is about the smallest normal number,
# and infinity.
LOWEST, HIGHEST = -87.3, 89.0
LOG2_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
E0, E1, E2 = 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3
E3, E4, E5 = 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
# To add it rounds to a whole number k, and leaves the exponent of 2**k in the lowest bits.
ROUNDING = 1.5 * 2**23 + 127

# tanh: a rational function of degree 13 over 6 (Eigen). A relative error of some 1e-7.
TANH_LIMIT = 7.90531110763549805
A13, A11, A9 = -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11
A7, A5, A3 = 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04
A1 = 4.89352455891786e-03
B6, B4, B2 = 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03
B0 = 4.89352518554385e-03

# sigmoid: 1/2 + x P(x**2) / Q(x**2). The fraction is minimax up to |x| = 16.6, with an error of
# 4e-9 (fitted for this file); beyond, it goes on growing in x until it is cut off. An absolute
# error of 2e-7 after rounding, and never outside [0, 1].
SQUARE_LIMIT = 16.6**2
P0, P1, P2 = 0.24999998919052754, 0.008386951748017294, 5.53322511528748e-05
P3, P4 = 8.352378149233516e-08, 1.4139198751631032e-11
Q1, Q2 = 0.11688109614141293, 0.0016281001936536725
Q3, Q4 = 5.251859258999642e-06, 3.212727320184367e-09


@njit(**OPTIONS)
def exp(x):
    """In float32."""
    bounded = at_most(at_least(x, floats(LOWEST)), floats(HIGHEST))
    shifted = muladd(bounded, floats(LOG2_E), floats(ROUNDING))
    k = sub(shifted, floats(ROUNDING))
    r = muladd(k, floats(-LN2_LOW), muladd(k, floats(-LN2_HIGH), bounded))
    p = muladd(muladd(floats(E0), r, floats(E1)), r, floats(E2))
    p = muladd(muladd(muladd(p, r, floats(E3)), r, floats(E4)), r, floats(E5))
    return mul(add(muladd(mul(p, r), r, r), floats(1.0)), exponent(shifted))


@njit(**OPTIONS)
def tanh(x):
    """In float32."""
    y = at_most(at_least(x, floats(-TANH_LIMIT)), floats(TANH_LIMIT))
    z = mul(y, y)
    odd = muladd(muladd(floats(A13), z, floats(A11)), z, floats(A9))
    odd = muladd(muladd(muladd(odd, z, floats(A7)), z, floats(A5)), z, floats(A3))
    odd = mul(muladd(odd, z, floats(A1)), y)
    even = muladd(muladd(floats(B6), z, floats(B4)), z, floats(B2))
    return div(odd, muladd(even, z, floats(B0)))


@njit(**OPTIONS)
def sigmoid(x):
    """In float32."""
    z = at_most(mul(x, x), floats(SQUARE_LIMIT))
    p = muladd(muladd(floats(P4), z, floats(P3)), z, floats(P2))
    p = muladd(muladd(p, z, floats(P1)), z, floats(P0))
    q = muladd(muladd(floats(Q4), z, floats(Q3)), z, floats(Q2))
    q = muladd(muladd(q, z, floats(Q1)), z, floats(1.0))
    half = at_most(at_least(div(mul(p, x), q), floats(-0.5)), floats(0.5))
    return add(half, floats(0.5))


@njit(**OPTIONS)
def sigmoid_double(x):
    """In float64."""
    return div(doubles(1.0), add(doubles(1.0), exp_double(neg(x))))
