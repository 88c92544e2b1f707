/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/elementwise.cl - functions of each element, casts, sums over an axis.
 *
 * Groups: elements / (GROUP EACH), rounded up; reduce: (A C) / GROUP. Floor: chips. */
#include "chips/kernels/args_dense.h"
#include "chips/kernels/lang.h"

#define EACH MZ_KERNEL_EACH

/* Element e, counted along the last axis first, in a view. */
HELPER i64 place_of(mz_kview v, i64 e, i64 d1, i64 d2)
{
    const i64 i2 = e % d2, rest = e / d2;
    return v.at + rest / d1 * v.s0 + rest % d1 * v.s1 + i2 * v.s2;
}

HELPER float apply(int fn, float a, float b, float alpha)
{
    if (fn == MZ_KERNEL_ADD) return a + b;
    if (fn == MZ_KERNEL_MUL) return a * b;
    if (fn == MZ_KERNEL_AXPY) return a + alpha * b;
    return fn == MZ_KERNEL_SCALE ? alpha * a : alpha;
}

/* d1 = d2 = 1 says that all three are one run of elements, s0 apart. */
KERNEL void elementwise(GLOBAL store *y, GLOBAL const store *a, GLOBAL const store *b,
                        mz_kelementwise k)
{
    const int is_flat = k.d1 == 1 && k.d2 == 1;
    const int has_b = k.fn <= MZ_KERNEL_AXPY, has_a = k.fn != MZ_KERNEL_FILL;
    for (int i = 0; i < EACH; i++) {
        const i64 e = (GROUP_OF(0) * EACH + i) * GROUP + ITEM;
        if (e >= k.n) continue;
        const i64 iy = is_flat ? k.y.at + e * k.y.s0 : place_of(k.y, e, k.d1, k.d2);
        const i64 ia = is_flat ? k.a.at + e * k.a.s0 : place_of(k.a, e, k.d1, k.d2);
        const i64 ib = is_flat ? k.b.at + e * k.b.s0 : place_of(k.b, e, k.d1, k.d2);
        if (k.fn == MZ_KERNEL_COPY) {
            y[iy] = a[ia];
            continue;
        }
        const float va = has_a ? LOAD(a, ia) : 0.0f, vb = has_b ? LOAD(b, ib) : 0.0f;
        STORE(y, iy, apply(k.fn, va, vb, k.alpha));
    }
}

KERNEL void cast(GLOBAL out_store *y, GLOBAL const store *x, mz_kcast k)
{
    for (int i = 0; i < EACH; i++) {
        const i64 e = (GROUP_OF(0) * EACH + i) * GROUP + ITEM;
        if (e >= k.T * k.N) continue;
        const i64 t = e / k.N, n = e % k.N;
        STORE_OUT(y, k.y.at + t * k.y.s0 + n * k.y.s1, LOAD(x, k.x.at + t * k.x.s0 + n * k.x.s1));
    }
}

KERNEL void reduce(GLOBAL out_store *y, GLOBAL const store *x, mz_kreduce k)
{
    const i64 a = GLOBAL_ITEM / k.C, c = GLOBAL_ITEM % k.C;
    if (a >= k.A) return;
    const i64 to = k.y.at + a * k.y.s0 + c * k.y.s1, from = k.x.at + a * k.x.s0 + c * k.x.s2;
    float sum = 0.0f, lost = 0.0f; /* compensated: B may be long */
    for (i64 b = 0; b < k.B; b++) {
        const float x1 = LOAD(x, from + b * k.x.s1), next = sum + x1, part = next - sum;
        lost += (sum - (next - part)) + (x1 - part);
        sum = next;
    }
    if (sum - sum == 0.0f) sum += lost; /* not of NaN and infinities */
    STORE_OUT(y, to, k.accumulate ? LOAD_OUT(y, to) + sum : sum);
}
