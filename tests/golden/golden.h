/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/golden.h - a golden model's folder, what went in, and what came out of the official
 * implementation. */
#ifndef MZ_TESTS_GOLDEN_GOLDEN_H
#define MZ_TESTS_GOLDEN_GOLDEN_H

#include "file/safetensors.h"
#include "infer/prompt.h"
#include "tests/near.h"

#include <stdio.h>
#include <string.h>

typedef struct golden {
    char folder[128];
    mz_st_file *in, *want;
    int64_t T;
    mz_ids prompt; /* row 0 */
} golden;

static inline int64_t id_at(const mz_st_tensor *t, int64_t i)
{
    int64_t x;
    memcpy(&x, (const char *)t->data + i * 8, 8);
    return x;
}

static inline void open_golden(golden *g, const char *name)
{
    char path[192];
    memset(g, 0, sizeof *g);
    snprintf(g->folder, sizeof g->folder, "tests/golden/%s", name);
    snprintf(path, sizeof path, "%s/in.safetensors", g->folder);
    assert_int_equal(mz_st_open(&g->in, path), MZ_OK);
    snprintf(path, sizeof path, "%s/want.safetensors", g->folder);
    assert_int_equal(mz_st_open(&g->want, path), MZ_OK);
    const mz_st_tensor *ids = mz_st_find(g->in, "ids");
    g->T = ids->dim[1];
    for (int64_t i = 0; i < g->T; i++)
        assert_int_equal(mz_ids_add(&g->prompt, id_at(ids, i)), MZ_OK);
}

static inline void close_golden(golden *g)
{
    mz_ids_clear(&g->prompt);
    mz_st_close(g->in);
    mz_st_close(g->want);
}

#endif
