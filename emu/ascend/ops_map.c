/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_map.c - sums, products, comparisons, bits and roundings, element by element. */
#include "ascend/map.h"

#include <string.h>

#define A x[0][i]
#define B x[1][i]
#define C x[2][i]

/* ---- helpers that have a form for each kind of number ---- */

static double divided(double a, double b, double mode) /* 0 true, 1 towards 0, 2 down */
{
    if (mode < 1.0) return a / b;
    if (mode < 2.0) return trunc(a / b);
    double rest = fmod(a, b);
    if (!(b < 0.0) && !(b > 0.0)) return a / b;
    if ((rest < 0.0 || rest > 0.0) && (b < 0.0) != (rest < 0.0)) rest += b;
    return nearbyint((a - rest) / b);
}

/* Nothing divided by 0 is 0: the device does not stop. */
static int64_t whole_divided(int64_t a, int64_t b, int64_t mode)
{
    if (b == 0) return 0;
    if (b == -1) return -a;
    return a / b - (mode == 2 && a % b != 0 && (a < 0) != (b < 0));
}

static double remaining(double a, double b)
{
    const double rest = fmod(a, b);
    return (rest < 0.0 || rest > 0.0) && (b < 0.0) != (rest < 0.0) ? rest + b : rest;
}

static int64_t whole_rest(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}

static int64_t whole_remaining(int64_t a, int64_t b)
{
    const int64_t rest = whole_rest(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

static int64_t power_whole(int64_t a, int64_t n)
{
    int64_t y = 1;
    if (n < 0) return a == 1 ? 1 : a == -1 ? (n % 2 ? -1 : 1) : 0;
    for (; n; n /= 2, a *= a)
        if (n % 2) y *= a;
    return y;
}

static int64_t shifted(int64_t a, int64_t by) /* to the left; to the right below 0 */
{
    if (by <= -63) return a < 0 ? -1 : 0;
    return by < 0 ? a >> -by : by > 63 ? 0 : (int64_t)((uint64_t)a << by);
}

/* ---- what they compute ---- */

EMU_BOTH(add, A + S[2] * B)
EMU_BOTH(adds, A + S[2] * S[1])
EMU_BOTH(sub, A - S[2] * B)
EMU_BOTH(subs, A - S[2] * S[1])
EMU_BOTH(rsubs, S[1] - S[2] * A)
EMU_BOTH(mul, A *B)
EMU_BOTH(muls, A *S[1])
EMU_REAL(div, A / B)
EMU_REAL(divs, A / S[1])
EMU_REAL(div_mode, divided(A, B, (double)c->arg[2].i))
EMU_WHOLE(div_mode, whole_divided(A, B, c->arg[2].i))
EMU_REAL(divs_mode, divided(A, S[1], (double)c->arg[2].i))
EMU_WHOLE(divs_mode, whole_divided(A, S[1], c->arg[2].i))
EMU_REAL(floor_div, divided(A, B, 2.0))
EMU_WHOLE(floor_div, whole_divided(A, B, 2))
EMU_REAL(floor_divs, divided(A, S[1], 2.0))
EMU_WHOLE(floor_divs, whole_divided(A, S[1], 2))
EMU_REAL(remainder, remaining(A, B))
EMU_WHOLE(remainder, whole_remaining(A, B))
EMU_REAL(remainders, remaining(A, S[1]))
EMU_WHOLE(remainders, whole_remaining(A, S[1]))
EMU_REAL(remainder_of, remaining(S[0], A))
EMU_WHOLE(remainder_of, whole_remaining(S[0], A))
EMU_REAL(fmod, fmod(A, B))
EMU_WHOLE(fmod, whole_rest(A, B))
EMU_REAL(fmods, fmod(A, S[1]))
EMU_WHOLE(fmods, whole_rest(A, S[1]))
EMU_BOTH(copy, A)
EMU_BOTH(fill, S[1])
EMU_BOTH(zero, 0)
EMU_BOTH(one, 1)
EMU_BOTH(neg, -A)
EMU_BOTH(abs, A < 0 ? -A : A)
EMU_BOTH(sign, (A > 0) - (A < 0) + (A <= A ? 0 : A))
EMU_REAL(signbit, signbit(A) != 0)
EMU_REAL(addcdiv, A + S[3] * B / C)
EMU_BOTH(addcmul, A + S[3] * B * C)
EMU_REAL(lerp, A + S[2] * (B - A))
EMU_REAL(lerp_each, A + C * (B - A))
EMU_REAL(power, pow(A, S[1]))
EMU_WHOLE(power, power_whole(A, S[1]))
EMU_REAL(power_of, pow(S[0], A))
EMU_WHOLE(power_of, power_whole(S[0], A))
EMU_REAL(power_each, pow(A, B))
EMU_WHOLE(power_each, power_whole(A, B))
EMU_BOTH(larger, A <= A && !(A > B) ? B : A)
EMU_BOTH(smaller, A <= A && !(A < B) ? B : A)

/* Either bound may be absent. */
EMU_BOTH(clamp, c->arg[2].n &&A > S[2]    ? S[2]
                : c->arg[1].n && A < S[1] ? (c->arg[2].n && S[1] > S[2] ? S[2] : S[1])
                                          : A)
EMU_BOTH(clamp_least, A < S[1] ? S[1] : A)
EMU_BOTH(clamp_most, A > S[1] ? S[1] : A)
EMU_BOTH(clamp_each, c->arg[2].n && (A > C || (c->arg[1].n && B > C)) ? C
                     : c->arg[1].n && A < B                           ? B
                                                                      : A)

EMU_BOTH(equal, A <= B && A >= B)
EMU_BOTH(differs, !(A <= B && A >= B))
EMU_BOTH(less, A < B)
EMU_BOTH(greater, A > B)
EMU_BOTH(at_least, A >= B)
EMU_BOTH(at_most, A <= B)
EMU_BOTH(equal_scalar, A <= S[1] && A >= S[1])
EMU_BOTH(differs_scalar, !(A <= S[1] && A >= S[1]))
EMU_BOTH(less_scalar, A < S[1])
EMU_BOTH(greater_scalar, A > S[1])
EMU_BOTH(at_least_scalar, A >= S[1])
EMU_BOTH(at_most_scalar, A <= S[1])
EMU_REAL(finite, isfinite(A) ? 1.0 : 0.0)
EMU_REAL(infinite_up, isinf(A) && A > 0.0)
EMU_REAL(infinite_down, isinf(A) && A < 0.0)
EMU_REAL(close, (A <= B && A >= B) ||
                    (isfinite(A) && isfinite(B) && fabs(A - B) <= S[3] + S[2] * fabs(B)) ||
                    (c->arg[4].i && isnan(A) && isnan(B)))

#define IS(a) ((a) < 0 || (a) > 0 || !((a) <= (a))) /* what is no number is true */
EMU_BOTH(choose, IS(A) ? B : C)
EMU_BOTH(masked, IS(B) ? S[2] : A)
EMU_BOTH(masked_each, IS(B) ? C : A)
EMU_BOTH(logical_and, IS(A) && IS(B))
EMU_BOTH(logical_or, IS(A) || IS(B))
EMU_BOTH(logical_xor, IS(A) != IS(B))
EMU_BOTH(logical_not, !IS(A))
EMU_BOTH(both, (int64_t)A &(int64_t)B)
EMU_BOTH(either, (int64_t)A | (int64_t)B)
EMU_BOTH(exclusive, (int64_t)A ^ (int64_t)B)
EMU_BOTH(both_scalar, (int64_t)A &(int64_t)S[1])
EMU_BOTH(either_scalar, (int64_t)A | (int64_t)S[1])
EMU_BOTH(exclusive_scalar, (int64_t)A ^ (int64_t)S[1])
EMU_BOTH(invert, c->arg[0].tensor->type == EMU_BOOL ? !IS(A) : ~(int64_t)A)
EMU_BOTH(left, shifted((int64_t)A, (int64_t)B))
EMU_BOTH(left_scalar, shifted((int64_t)A, (int64_t)S[1]))
EMU_BOTH(right, shifted((int64_t)A, -(int64_t)B))

EMU_REAL(round, rint(A))
EMU_REAL(floor, floor(A))
EMU_REAL(ceil, ceil(A))
EMU_REAL(trunc, trunc(A))
EMU_REAL(frac, A - trunc(A))
EMU_REAL(round_at, rint(A *pow(10.0, (double)c->arg[1].i)) / pow(10.0, (double)c->arg[1].i))
EMU_REAL(to_number, isnan(A) ? S[1] : isinf(A) && A > 0.0 ? S[2] : isinf(A) ? S[3] : A)

/* X(name, where the output stands, flags, function, its form for integers, inputs...) */
#define ASKS EMU_MAP_ASKS
#define MAP_LIST(X)                                                                                \
    X(Add, 3, 0, add, add, 0, 1)                                                                   \
    X(Adds, 3, 0, adds, adds, 0)                                                                   \
    X(InplaceAdd, 0, 0, add, add, 0, 1)                                                            \
    X(InplaceAdds, 0, 0, adds, adds, 0)                                                            \
    X(Sub, 3, 0, sub, sub, 0, 1)                                                                   \
    X(Subs, 3, 0, subs, subs, 0)                                                                   \
    X(InplaceSub, 0, 0, sub, sub, 0, 1)                                                            \
    X(InplaceSubs, 0, 0, subs, subs, 0)                                                            \
    X(Rsubs, 3, 0, rsubs, rsubs, 0)                                                                \
    X(Mul, 2, 0, mul, mul, 0, 1)                                                                   \
    X(Muls, 2, 0, muls, muls, 0)                                                                   \
    X(InplaceMul, 0, 0, mul, mul, 0, 1)                                                            \
    X(InplaceMuls, 0, 0, muls, muls, 0)                                                            \
    X(Div, 2, 0, div, none, 0, 1)                                                                  \
    X(Divs, 2, 0, divs, none, 0)                                                                   \
    X(InplaceDiv, 0, 0, div, none, 0, 1)                                                           \
    X(InplaceDivs, 0, 0, divs, none, 0)                                                            \
    X(DivMod, 3, 0, div_mode, div_mode, 0, 1)                                                      \
    X(DivMods, 3, 0, divs_mode, divs_mode, 0)                                                      \
    X(InplaceDivMod, 0, 0, div_mode, div_mode, 0, 1)                                               \
    X(InplaceDivMods, 0, 0, divs_mode, divs_mode, 0)                                               \
    X(FloorDivide, 2, 0, floor_div, floor_div, 0, 1)                                               \
    X(FloorDivides, 2, 0, floor_divs, floor_divs, 0)                                               \
    X(InplaceFloorDivide, 0, 0, floor_div, floor_div, 0, 1)                                        \
    X(InplaceFloorDivides, 0, 0, floor_divs, floor_divs, 0)                                        \
    X(RemainderTensorTensor, 2, 0, remainder, remainder, 0, 1)                                     \
    X(RemainderTensorScalar, 2, 0, remainders, remainders, 0)                                      \
    X(RemainderScalarTensor, 2, 0, remainder_of, remainder_of, 1)                                  \
    X(InplaceRemainderTensorTensor, 0, 0, remainder, remainder, 0, 1)                              \
    X(InplaceRemainderTensorScalar, 0, 0, remainders, remainders, 0)                               \
    X(FmodTensor, 2, 0, fmod, fmod, 0, 1)                                                          \
    X(FmodScalar, 2, 0, fmods, fmods, 0)                                                           \
    X(InplaceFmodTensor, 0, 0, fmod, fmod, 0, 1)                                                   \
    X(InplaceFmodScalar, 0, 0, fmods, fmods, 0)                                                    \
    X(Cast, 2, 0, copy, copy, 0)                                                                   \
    X(InplaceCopy, 0, 0, copy, copy, 1)                                                            \
    X(InplaceFillScalar, 0, 0, fill, fill, -1)                                                     \
    X(InplaceFillTensor, 0, 0, copy, copy, 1)                                                      \
    X(InplaceZero, 0, 0, zero, zero, -1)                                                           \
    X(InplaceOne, 0, 0, one, one, -1)                                                              \
    X(Neg, 1, 0, neg, neg, 0)                                                                      \
    X(Abs, 1, 0, abs, abs, 0)                                                                      \
    X(Sign, 1, 0, sign, sign, 0)                                                                   \
    X(Signbit, 1, ASKS, signbit, none, 0)                                                          \
    X(Addcdiv, 4, 0, addcdiv, none, 0, 1, 2)                                                       \
    X(Addcmul, 4, 0, addcmul, addcmul, 0, 1, 2)                                                    \
    X(InplaceAddcdiv, 0, 0, addcdiv, none, 0, 1, 2)                                                \
    X(InplaceAddcmul, 0, 0, addcmul, addcmul, 0, 1, 2)                                             \
    X(Lerps, 3, 0, lerp, none, 0, 1)                                                               \
    X(InplaceLerps, 0, 0, lerp, none, 0, 1)                                                        \
    X(Lerp, 3, 0, lerp_each, none, 0, 1, 2)                                                        \
    X(InplaceLerp, 0, 0, lerp_each, none, 0, 1, 2)                                                 \
    X(PowTensorScalar, 2, 0, power, power, 0)                                                      \
    X(PowScalarTensor, 2, 0, power_of, power_of, 1)                                                \
    X(PowTensorTensor, 2, 0, power_each, power_each, 0, 1)                                         \
    X(InplacePowTensorScalar, 0, 0, power, power, 0)                                               \
    X(InplacePowTensorTensor, 0, 0, power_each, power_each, 0, 1)                                  \
    X(Maximum, 2, 0, larger, larger, 0, 1)                                                         \
    X(Minimum, 2, 0, smaller, smaller, 0, 1)                                                       \
    X(Clamp, 3, 0, clamp, clamp, 0)                                                                \
    X(ClampMin, 2, 0, clamp_least, clamp_least, 0)                                                 \
    X(ClampMax, 2, 0, clamp_most, clamp_most, 0)                                                   \
    X(InplaceClampMax, 0, 0, clamp_most, clamp_most, 0)                                            \
    X(ClampMinTensor, 2, 0, larger, larger, 0, 1)                                                  \
    X(ClampMaxTensor, 2, 0, smaller, smaller, 0, 1)                                                \
    X(InplaceClampMinTensor, 0, 0, larger, larger, 0, 1)                                           \
    X(InplaceClampMaxTensor, 0, 0, smaller, smaller, 0, 1)                                         \
    X(EqTensor, 2, ASKS, equal, equal, 0, 1)                                                       \
    X(NeTensor, 2, ASKS, differs, differs, 0, 1)                                                   \
    X(LtTensor, 2, ASKS, less, less, 0, 1)                                                         \
    X(GtTensor, 2, ASKS, greater, greater, 0, 1)                                                   \
    X(GeTensor, 2, ASKS, at_least, at_least, 0, 1)                                                 \
    X(LeTensor, 2, ASKS, at_most, at_most, 0, 1)                                                   \
    X(EqScalar, 2, ASKS, equal_scalar, equal_scalar, 0)                                            \
    X(NeScalar, 2, ASKS, differs_scalar, differs_scalar, 0)                                        \
    X(LtScalar, 2, ASKS, less_scalar, less_scalar, 0)                                              \
    X(GtScalar, 2, ASKS, greater_scalar, greater_scalar, 0)                                        \
    X(GeScalar, 2, ASKS, at_least_scalar, at_least_scalar, 0)                                      \
    X(LeScalar, 2, ASKS, at_most_scalar, at_most_scalar, 0)                                        \
    X(InplaceEqTensor, 0, 0, equal, equal, 0, 1)                                                   \
    X(InplaceNeTensor, 0, 0, differs, differs, 0, 1)                                               \
    X(InplaceLtTensor, 0, 0, less, less, 0, 1)                                                     \
    X(InplaceGtTensor, 0, 0, greater, greater, 0, 1)                                               \
    X(InplaceGeTensor, 0, 0, at_least, at_least, 0, 1)                                             \
    X(InplaceLeTensor, 0, 0, at_most, at_most, 0, 1)                                               \
    X(InplaceEqScalar, 0, 0, equal_scalar, equal_scalar, 0)                                        \
    X(InplaceNeScalar, 0, 0, differs_scalar, differs_scalar, 0)                                    \
    X(InplaceLtScalar, 0, 0, less_scalar, less_scalar, 0)                                          \
    X(InplaceGtScalar, 0, 0, greater_scalar, greater_scalar, 0)                                    \
    X(InplaceGeScalar, 0, 0, at_least_scalar, at_least_scalar, 0)                                  \
    X(InplaceLeScalar, 0, 0, at_most_scalar, at_most_scalar, 0)                                    \
    X(IsFinite, 1, ASKS, finite, none, 0)                                                          \
    X(IsPosInf, 1, ASKS, infinite_up, none, 0)                                                     \
    X(IsNegInf, 1, ASKS, infinite_down, none, 0)                                                   \
    X(IsClose, 5, ASKS, close, none, 0, 1)                                                         \
    X(SWhere, 3, 0, choose, choose, 0, 1, 2)                                                       \
    X(InplaceMaskedFillScalar, 0, 0, masked, masked, 0, 1)                                         \
    X(InplaceMaskedFillTensor, 0, 0, masked_each, masked_each, 0, 1, 2)                            \
    X(LogicalAnd, 2, ASKS, logical_and, logical_and, 0, 1)                                         \
    X(LogicalOr, 2, ASKS, logical_or, logical_or, 0, 1)                                            \
    X(LogicalXor, 2, ASKS, logical_xor, logical_xor, 0, 1)                                         \
    X(LogicalNot, 1, ASKS, logical_not, logical_not, 0)                                            \
    X(InplaceLogicalAnd, 0, 0, logical_and, logical_and, 0, 1)                                     \
    X(InplaceLogicalOr, 0, 0, logical_or, logical_or, 0, 1)                                        \
    X(InplaceLogicalNot, 0, 0, logical_not, logical_not, 0)                                        \
    X(BitwiseAndTensor, 2, 0, both, both, 0, 1)                                                    \
    X(BitwiseOrTensor, 2, 0, either, either, 0, 1)                                                 \
    X(BitwiseXorTensor, 2, 0, exclusive, exclusive, 0, 1)                                          \
    X(BitwiseAndScalar, 2, 0, both_scalar, both_scalar, 0)                                         \
    X(BitwiseOrScalar, 2, 0, either_scalar, either_scalar, 0)                                      \
    X(BitwiseXorScalar, 2, 0, exclusive_scalar, exclusive_scalar, 0)                               \
    X(InplaceBitwiseAndTensor, 0, 0, both, both, 0, 1)                                             \
    X(InplaceBitwiseXorTensor, 0, 0, exclusive, exclusive, 0, 1)                                   \
    X(InplaceBitwiseAndScalar, 0, 0, both_scalar, both_scalar, 0)                                  \
    X(InplaceBitwiseXorScalar, 0, 0, exclusive_scalar, exclusive_scalar, 0)                        \
    X(BitwiseNot, 1, 0, invert, invert, 0)                                                         \
    X(LeftShift, 2, 0, left, left, 0, 1)                                                           \
    X(LeftShifts, 2, 0, left_scalar, left_scalar, 0)                                               \
    X(RightShift, 2, 0, right, right, 0, 1)                                                        \
    X(Round, 1, 0, round, copy, 0)                                                                 \
    X(InplaceRound, 0, 0, round, copy, 0)                                                          \
    X(InplaceTrunc, 0, 0, trunc, copy, 0)                                                          \
    X(RoundDecimals, 2, 0, round_at, none, 0)                                                      \
    X(InplaceRoundDecimals, 0, 0, round_at, none, 0)                                               \
    X(Floor, 1, 0, floor, copy, 0)                                                                 \
    X(InplaceFloor, 0, 0, floor, copy, 0)                                                          \
    X(Ceil, 1, 0, ceil, copy, 0)                                                                   \
    X(InplaceCeil, 0, 0, ceil, copy, 0)                                                            \
    X(Trunc, 1, 0, trunc, copy, 0)                                                                 \
    X(Frac, 1, 0, frac, zero, 0)                                                                   \
    X(InplaceFrac, 0, 0, frac, zero, 0)                                                            \
    X(NanToNum, 4, 0, to_number, none, 0)                                                          \
    X(InplaceNanToNum, 0, 0, to_number, none, 0)

MAP_LIST(EMU_MAP_DEFINE)
EMU_MAP_DEFINE_(ClampTensor, 3, 1, 0, clamp_each, clamp_each, 0, 1, 2)

const emu_op emu_ops_map[] = {MAP_LIST(EMU_MAP_ROW) EMU_MAP_ROW(ClampTensor, 3){NULL, NULL, NULL}};
