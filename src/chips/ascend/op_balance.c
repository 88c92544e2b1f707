/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_balance.c - the balance loss, and rows moved by index. Floor: chips. */
#include "chips/ascend/state.h"

/* ---- balance ---- */

/* of[i,t] = 1 where token t is one of sequence i, else 0; f32 [n,T]. A token's sequence begins at
 * or before it, the next one behind it: the difference of two steps. */
static mz_nv sequences_of(mz_npu *n, mz_nv cu, int64_t T)
{
    const int64_t count = cu.dim[0], dims[] = {count, T}, S = count - 1;
    const mz_nv t = mz_npu_new(n, ACL_INT32, 1, &T), before = mz_npu_new(n, ACL_BOOL, 2, dims);
    const mz_nv steps = mz_npu_new(n, ACL_FLOAT, 2, dims);
    const mz_nv of = mz_npu_new(n, ACL_FLOAT, 2, (const int64_t[]){S, T});
    const mz_nv left = mz_nv_insert(t, 0, count), right = mz_nv_insert(cu, 1, T);
    mz_npu_count_up(n, t);
    MZ_NPU(n, LtTensor, mz_npu_t(n, &left), mz_npu_t(n, &right), mz_npu_t(n, &before));
    mz_npu_cast(n, before, steps);
    mz_npu_add(n, mz_nv_slice(steps, 0, 1, S), mz_nv_slice(steps, 0, 0, S), -1.0, of);
    return of;
}

/* chosen[t,e] = 1 where e is one of the token's ids, else 0; f32 [T,E]. */
static mz_nv chosen_of(mz_npu *n, mz_nv ids, int64_t E)
{
    const int64_t T = ids.dim[0], k = ids.dim[1], dims[] = {T, k, E}, out[] = {T, E};
    const mz_nv e = mz_npu_new(n, ACL_INT32, 1, &E), is = mz_npu_new(n, ACL_BOOL, 3, dims);
    const mz_nv ones = mz_npu_new(n, ACL_FLOAT, 3, dims), sum = mz_npu_new(n, ACL_FLOAT, 2, out);
    const mz_nv left = mz_nv_insert(ids, 2, E), right = mz_nv_insert(mz_nv_insert(e, 0, k), 0, T);
    mz_npu_count_up(n, e);
    MZ_NPU(n, EqTensor, mz_npu_t(n, &left), mz_npu_t(n, &right), mz_npu_t(n, &is));
    mz_npu_cast(n, is, ones);
    mz_npu_sum(n, ones, 1, sum);
    return sum;
}

/* So that an empty sequence, whose counts are 0, gives 0 and not 0/0. */
static void at_least_one(mz_npu *n, mz_nv length)
{
    const mz_nv is = mz_npu_like(n, &length, ACL_BOOL), one = mz_npu_like(n, &length, ACL_FLOAT);
    MZ_NPU(n, LtScalar, mz_npu_t(n, &length), mz_npu_s(n, 1.0, ACL_FLOAT), mz_npu_t(n, &is));
    mz_npu_cast(n, is, one);
    mz_npu_add_to(n, length, one);
}

/* With c [n,E] the counts and p [n,E] the sums of probs of each sequence, T_i its length:
 * f = c scale E / (k T_i^2), loss = sum f p, dprobs[t] = f of its sequence. */
static void balance(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_balance_desc *d = &desc->u.balance;
    const mz_nv probs = mz_nv_of(args->balance.probs), cu = mz_nv_of(args->balance.cu);
    const mz_nv dprobs = mz_nv_of(args->balance.dprobs), counts = mz_nv_of(args->balance.counts);
    const mz_nv loss = mz_nv_of(args->balance.loss);
    const int64_t T = probs.dim[0], S = cu.dim[0] - 1, all = S * d->E, dims[] = {S, d->E};
    if (T == 0 || S <= 0) {
        mz_npu_fill(n, loss, 0.0);
        return;
    }
    const mz_nv of = sequences_of(n, cu, T),
                chosen = chosen_of(n, mz_nv_of(args->balance.ids), d->E);
    const mz_nv f = mz_npu_new(n, ACL_FLOAT, 2, dims), p = mz_npu_new(n, ACL_FLOAT, 2, dims);
    const mz_nv length = mz_npu_new(n, ACL_FLOAT, 1, &S), wide = mz_nv_insert(length, 1, d->E);
    mz_npu_mm(n, of, chosen, f);
    mz_npu_mm(n, of, probs, p);
    mz_npu_sum(n, of, 1, length);
    at_least_one(n, length);
    mz_npu_scale(n, f, args->k.balance.alpha * (double)d->E / ((double)d->k * (double)S), f);
    for (int i = 0; i < 2; i++)
        MZ_NPU(n, Div, mz_npu_t(n, &f), mz_npu_t(n, &wide), mz_npu_t(n, &f));
    mz_npu_mul(n, f, p, p);
    mz_npu_sum(n, mz_nv_shape(p, 2, (const int64_t[]){1, all}), 1, loss);
    if (dprobs.base) mz_npu_mm(n, mz_nv_swap(of, 0, 1), f, dprobs);
    if (!counts.base) return;
    const mz_nv sum = mz_npu_new(n, ACL_FLOAT, 1, &d->E),
                whole = mz_npu_new(n, ACL_INT32, 1, &d->E);
    mz_npu_sum(n, chosen, 0, sum);
    mz_npu_cast(n, sum, whole);
    mz_npu_add_to(n, counts, whole);
}

const mz_ascend_op mz_ascend_balance = {.forward = balance};

/* ---- rows ---- */

/* where[i] ? a[i] : b[i], rows of D. */
static void pick(mz_npu *n, mz_nv where, mz_nv a, mz_nv b, mz_nv out)
{
    const mz_nv wide = out.rank == 2 ? mz_nv_insert(where, 1, out.dim[1]) : where;
    MZ_NPU(n, SWhere, mz_npu_t(n, &wide), mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out));
}

static mz_nv is_negative(mz_npu *n, mz_nv idx)
{
    const mz_nv is = mz_npu_like(n, &idx, ACL_BOOL);
    MZ_NPU(n, LtScalar, mz_npu_t(n, &idx), mz_npu_s(n, 0.0, ACL_INT32), mz_npu_t(n, &is));
    return is;
}

static mz_nv row_numbers(mz_npu *n, mz_nv skipped, mz_nv idx, mz_nv instead)
{
    const mz_nv out = mz_npu_like(n, &idx, ACL_INT32);
    pick(n, skipped, instead, idx, out);
    return out;
}

static void gather(mz_npu *n, mz_nv y, mz_nv x, mz_nv idx)
{
    const mz_nv skipped = is_negative(n, idx), zero = mz_npu_like(n, &idx, ACL_INT32);
    const mz_nv rows = mz_npu_like(n, &y, y.type), out = mz_npu_like(n, &y, y.type);
    mz_npu_fill(n, zero, 0.0);
    mz_npu_select(n, x, row_numbers(n, skipped, idx, zero), rows);
    pick(n, skipped, y, rows, out);
    mz_npu_copy(n, y, out);
}

/* A skipped row is written where the row of the largest index goes, with the same numbers; where
 * every row is skipped, row 0 of y is written with its own. */
static void scatter(mz_npu *n, mz_nv y, mz_nv x, mz_nv idx)
{
    const int64_t N = idx.dim[0];
    const mz_nv skipped = is_negative(n, idx), sorted = mz_npu_new(n, ACL_FLOAT, 1, &N);
    const mz_nv order = mz_npu_new(n, ACL_INT64, 1, &N), own = mz_npu_like(n, &x, x.type);
    const mz_nv rows = mz_npu_like(n, &x, x.type), last = mz_npu_like(n, &x, x.type);
    const int64_t one = 1;
    mz_npu_sort(n, mz_npu_f32(n, idx), true, sorted, order);
    const mz_nv largest = mz_npu_new(n, ACL_INT32, 1, &one),
                zero = mz_npu_new(n, ACL_INT32, 1, &one);
    const mz_nv place = mz_nv_slice(order, 0, 0, 1);
    mz_nv best = mz_npu_new(n, x.type, 2, (const int64_t[]){1, x.dim[1]});
    mz_npu_select(n, idx, place, largest);
    mz_npu_select(n, x, place, best);
    const mz_nv none = is_negative(n, largest);
    mz_npu_fill(n, zero, 0.0);
    const mz_nv target = row_numbers(n, none, largest, zero);
    mz_nv all = target, flag = none;
    all.dim[0] = flag.dim[0] = N;
    all.stride[0] = flag.stride[0] = best.stride[0] = 0;
    best.dim[0] = N;
    mz_nv first = mz_nv_slice(y, 0, 0, 1);
    first.dim[0] = N;
    first.stride[0] = 0;
    mz_npu_copy(n, own, first);
    pick(n, flag, own, best, last);
    pick(n, skipped, last, x, rows);
    const mz_nv to = row_numbers(n, skipped, idx, all), index = mz_npu_like(n, &to, ACL_INT64);
    mz_npu_cast(n, to, index);
    MZ_NPU(n, IndexPutImpl, mz_npu_t(n, &y), mz_npu_l(n, &index), mz_npu_t(n, &rows), false, true);
}

static void rows(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->rows.y), x = mz_nv_of(args->rows.x);
    const mz_nv idx = mz_nv_of(args->rows.idx);
    const bool is_scatter = desc->u.rows.scatter;
    if (mz_nv_count(&x) == 0 || mz_nv_count(&y) == 0 || mz_nv_count(&idx) == 0) return;
    if (is_scatter)
        scatter(n, y, x, idx);
    else
        gather(n, y, x, idx);
}

const mz_ascend_op mz_ascend_rows = {.forward = rows};
