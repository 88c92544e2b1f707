/* SPDX-License-Identifier: Apache-2.0 */
/* comm/reduce.c - sums in the order of the ranks. Floor: comm. May use base.
 *
 * In f64: of two ranks' f32 the sum is then the correctly rounded one, and with more of them the
 * rounding stays far below that of the gradients themselves, however unequal the shares are. */
#include "comm/comm.h"

void mz_reduce_f32(float *out, const float *const *in, int n_in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = (double)in[0][i];
        for (int k = 1; k < n_in; k++) sum += (double)in[k][i];
        out[i] = (float)sum;
    }
}

void mz_reduce_f64(double *out, const double *const *in, int n_in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = in[0][i];
        for (int k = 1; k < n_in; k++) sum += in[k][i];
        out[i] = sum;
    }
}

/* Eight running sums, so that the processor need not wait for each addition. */
double mz_reduce_squares(const float *x, int64_t n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0.0}, all = 0.0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) sum[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++) all += (double)x[i] * (double)x[i];
    for (int k = 0; k < LANES; k++) all += sum[k];
    return all;
}
