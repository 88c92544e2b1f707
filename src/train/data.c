/* SPDX-License-Identifier: Apache-2.0 */
/* train/data.c - see data.h. */
#include "train/data.h"

#include "base/file.h"
#include "base/mem.h"
#include "train/data_parts.h"
#include "train/order.h"

#include <string.h>

struct mz_data {
    mz_data_options o;
    char sha256[MZ_SHA256_HEX];
    bool is_shards;
    mz_rows rows;
    mz_pieces pieces;
};

static mz_err open_any(mz_data *d, const char *path)
{
    d->is_shards = mz_file_is_dir(path);
    if (!d->is_shards) return mz_rows_read(&d->rows, path, &d->o, d->sha256);
    if (!mz_shards_is(path)) {
        const mz_err err =
            MZ_FAIL(MZ_ECONFIG, "%s is a folder without data.json, so it holds no data set", path);
        mz_note_where(path, "data.path", -1);
        mz_note_fix("`mizan data build` makes one; a build that was cut short leaves none");
        return err;
    }
    MZ_TRY(mz_pieces_open(&d->pieces, path, &d->o));
    memcpy(d->sha256, mz_shards_sha256(d->pieces.shards), sizeof d->sha256);
    return MZ_OK;
}

mz_err mz_data_open(mz_data **out, const char *path, const mz_data_options *o)
{
    MZ_NEED(out && path && o && o->seq > 0 && o->vocab > 0, "no path, sequence or vocabulary");
    mz_data *d = NULL;
    MZ_TRY(mz_mem_new(&d, 1, sizeof *d));
    d->o = *o;
    const mz_err err = open_any(d, path);
    if (err != MZ_OK) {
        mz_data_close(d);
        return err;
    }
    *out = d;
    return MZ_OK;
}

void mz_data_close(mz_data *d)
{
    if (!d) return;
    mz_rows_clear(&d->rows);
    mz_pieces_clear(&d->pieces);
    mz_mem_free(d);
}

int64_t mz_data_count(const mz_data *d)
{
    return d->is_shards ? d->pieces.n : d->rows.n;
}

int64_t mz_data_tokens(const mz_data *d)
{
    return d->is_shards ? mz_shards_ids(d->pieces.shards) : d->rows.n_ids;
}

const char *mz_data_sha256(const mz_data *d)
{
    return d->sha256;
}

mz_err mz_data_sample(mz_data *d, int64_t cursor, mz_sample *sample)
{
    const int64_t n = mz_data_count(d), epoch = cursor / n;
    int64_t i = cursor % n;
    if (d->o.shuffle) i = mz_order_at(d->o.seed, epoch, n, i);
    if (d->is_shards) return mz_pieces_sample(&d->pieces, i, sample);
    mz_rows_sample(&d->rows, i, sample);
    return MZ_OK;
}

int64_t mz_sample_positions(const mz_sample *s)
{
    int64_t n = s->n - s->sequences;
    if (!s->counts) return n;
    n = 0;
    for (int64_t k = 0; k < s->sequences; k++) {
        const int64_t end = k + 1 < s->sequences ? s->starts[k + 1] : s->n;
        for (int64_t t = s->starts[k] + 1; t < end; t++) n += s->counts[t];
    }
    return n;
}

int64_t mz_data_sequences(const mz_data_options *o, bool is_shards, int64_t samples)
{
    return is_shards && o->pack && !o->across ? samples * o->seq : samples;
}
