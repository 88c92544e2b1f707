/* SPDX-License-Identifier: Apache-2.0 */
/* app/order2.c - an order-2 byte model by counting. Floor: app. */
#include "app/order2.h"

#include "base/mem.h"

#include <math.h>
#include <stdint.h>

enum { BYTES = 256 };

typedef struct counts { /* contexts of 0, 1 and 2 bytes, first byte first */
    uint32_t *three;    /* [256][256][256] */
    uint32_t two[BYTES][BYTES], one[BYTES];
} counts;

/* One level of the mixture: row[256] follows the context. */
static double mixed(const uint32_t *row, unsigned char next, double shorter)
{
    double n = 0.0, kinds = 0.0;
    for (int i = 0; i < BYTES; i++) n += row[i], kinds += row[i] > 0;
    return n > 0.0 ? (row[next] + kinds * shorter) / (n + kinds) : shorter;
}

static void fit(counts *c, const unsigned char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        c->one[text[i]]++;
        if (i >= 1) c->two[text[i - 1]][text[i]]++;
        if (i >= 2) c->three[((size_t)text[i - 2] * BYTES + text[i - 1]) * BYTES + text[i]]++;
    }
}

mz_err mz_order2_bits(const char *text, size_t n, const char *held, size_t n_held, double *bits)
{
    if (n < 3 || n_held < 3)
        return MZ_FAIL(MZ_ECORRUPT, "%zu and %zu bytes, want three of each", n, n_held);
    counts *c = NULL;
    const unsigned char *h = (const unsigned char *)held;
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    const mz_err err = mz_mem_new(&c->three, (int64_t)BYTES * BYTES * BYTES, sizeof *c->three);
    double sum = 0.0;
    if (err == MZ_OK) fit(c, (const unsigned char *)text, n);
    for (size_t i = 2; i < n_held && err == MZ_OK; i++) {
        const double p0 = mixed(c->one, h[i], 1.0 / BYTES);
        const double p1 = mixed(c->two[h[i - 1]], h[i], p0);
        const size_t row = ((size_t)h[i - 2] * BYTES + h[i - 1]) * BYTES;
        sum -= log2(mixed(c->three + row, h[i], p1));
    }
    if (err == MZ_OK) *bits = sum / (double)(n_held - 2);
    mz_mem_free(c->three);
    mz_mem_free(c);
    return err;
}
