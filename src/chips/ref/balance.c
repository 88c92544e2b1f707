/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/balance.c - the sequence-wise balance loss, its gradient, and the experts' loads; see
 * chip/desc.h. The mean runs over all n sequences; one without tokens adds 0; without sequences the
 * loss is 0. Floor: chips. */
#include "chips/ref/ops.h"

/* How many of tokens start..end-1 chose expert e. */
static int64_t chosen(const mz_tensor *ids, int64_t start, int64_t end, int64_t e)
{
    int64_t n = 0;
    for (int64_t t = start; t < end; t++)
        for (int64_t j = 0; j < ids->dim[1]; j++) n += id2(ids, t, j) == e;
    return n;
}

mz_err mz_ref_balance(mz_op *op, const mz_args *args)
{
    const mz_balance_desc *d = &op->desc.u.balance;
    const mz_tensor *probs = args->balance.probs, *ids = args->balance.ids, *cu = args->balance.cu;
    const mz_tensor *dprobs = args->balance.dprobs, *counts = args->balance.counts;
    const int64_t T = probs->dim[0], sequences = cu->dim[0] - 1;
    const double scale = args->k.balance.alpha / (double)(sequences ? sequences : 1);
    double loss = 0.0;
    MZ_TRY(mz_ref_check_offsets(cu, T, "cu"));
    for (int64_t i = 0; i < sequences; i++)
        for (int64_t e = 0; e < d->E; e++) {
            const int64_t start = id1(cu, i), end = id1(cu, i + 1);
            const double n = (double)(end - start);
            const double f = (double)d->E / ((double)d->k * n) * (double)chosen(ids, start, end, e);
            for (int64_t t = start; t < end; t++) {
                loss += scale * f * at2(probs, t, e) / n;
                if (dprobs) put2(dprobs, t, e, scale * f / n);
            }
        }
    put1(args->balance.loss, 0, loss);
    for (int64_t e = 0; counts && e < d->E; e++)
        put_id1(counts, e, id1(counts, e) + chosen(ids, 0, T, e));
    return MZ_OK;
}
