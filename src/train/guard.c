/* SPDX-License-Identifier: Apache-2.0 */
/* train/guard.c - see guard.h. */
#include "train/guard.h"

#include <math.h>
#include <stddef.h>

/* Two passes: the one-pass formula loses everything where the curve is flat. */
static bool is_spike(const mz_spikes *g, const double *ring, double x)
{
    const int64_t n = g->taken < g->window ? g->taken : g->window;
    double mean = 0.0, square = 0.0;
    for (int64_t i = 0; i < n; i++) mean += ring[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) square += (ring[i] - mean) * (ring[i] - mean);
    const double s = fmax(sqrt(square / (double)(n - 1)), fabs(mean) * 1e-3);
    return !(x <= mean + g->sigmas * s);
}

const char *mz_spikes_judge(const mz_spikes *g, double loss, double norm)
{
    if (!isfinite(loss)) return "the loss is not finite";
    if (!isfinite(norm)) return "the gradient norm is not finite";
    const int64_t needed = g->window / 2 > 2 ? g->window / 2 : 2;
    if (!(g->sigmas > 0.0) || g->taken < needed) return NULL;
    if (is_spike(g, g->loss, loss)) return "the loss is a spike";
    if (is_spike(g, g->norm, norm)) return "the gradient norm is a spike";
    return NULL;
}

void mz_spikes_took(mz_spikes *g, double loss, double norm)
{
    g->loss[g->taken % g->window] = loss;
    g->norm[g->taken % g->window] = norm;
    g->taken++;
    g->in_a_row = 0;
}

void mz_spikes_skipped(mz_spikes *g)
{
    g->skipped++;
    g->in_a_row++;
}
