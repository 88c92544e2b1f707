/* SPDX-License-Identifier: Apache-2.0 */
/* train/data_shards.c - samples out of token shards, see data.h. */
#include "base/mem.h"
#include "train/data_parts.h"

static int64_t pieces_of(int64_t ids, int64_t seq)
{
    return (ids - 1 + seq - 1) / seq; /* one id alone predicts nothing */
}

static mz_err count_pieces(mz_pieces *p)
{
    const int64_t documents = mz_shards_documents(p->shards);
    MZ_TRY(mz_mem_new(&p->first, documents + 1, sizeof *p->first));
    for (int64_t d = 0, start = 0; d < documents; d++) {
        const int64_t end = mz_shards_document_start(p->shards, d + 1);
        p->first[d + 1] = p->first[d] + pieces_of(end - start, p->o.seq);
        start = end;
    }
    p->n = p->first[documents];
    return MZ_OK;
}

static mz_err check(const mz_pieces *p, const char *folder)
{
    const int64_t largest = mz_shards_largest(p->shards);
    if (largest >= p->o.vocab) {
        const mz_err err =
            MZ_FAIL(MZ_ECONFIG, "%s holds id %lld, this network's vocabulary ends at %lld", folder,
                    (long long)largest, (long long)p->o.vocab - 1);
        mz_note_where(folder, "data.path", -1);
        mz_note_fix("was the data made with this model's tokenizer?");
        return err;
    }
    if (p->n > 0) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ECONFIG, "%s has %lld ids for %s: no whole sample of data.seq %lld", folder,
                (long long)mz_shards_ids(p->shards), mz_part_name(p->o.part), (long long)p->o.seq);
    mz_note_where(folder, "data.seq", -1);
    mz_note_fix(p->o.part == MZ_PART_VALIDATION ? "build the data with a larger --validation"
                                                : "give more text, or a smaller data.seq");
    return err;
}

mz_err mz_pieces_open(mz_pieces *p, const char *folder, const mz_data_options *o)
{
    p->o = *o;
    MZ_TRY(mz_shards_open(&p->shards, folder, o->part));
    const int64_t ids = mz_shards_ids(p->shards);
    if (!o->pack) MZ_TRY(count_pieces(p));
    if (o->pack) p->n = ids > 0 ? (ids - 1) / o->seq : 0;
    MZ_TRY(check(p, folder));
    MZ_TRY(mz_mem_new(&p->ids, o->seq + 1, sizeof *p->ids));
    return mz_mem_new(&p->starts, o->seq + 1, sizeof *p->starts);
}

void mz_pieces_clear(mz_pieces *p)
{
    mz_shards_close(p->shards);
    mz_mem_free(p->first);
    mz_mem_free(p->ids);
    mz_mem_free(p->starts);
}

/* The document that holds piece i. */
static int64_t document_with(const mz_pieces *p, int64_t i)
{
    int64_t low = 0, high = mz_shards_documents(p->shards) - 1;
    while (low < high) { /* the last one that does not begin behind it */
        const int64_t mid = low + (high - low + 1) / 2;
        if (p->first[mid] <= i)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* Where documents begin inside [at, at + n), as offsets. */
static int64_t find_starts(const mz_pieces *p, int64_t at, int64_t n)
{
    int64_t k = 1;
    p->starts[0] = 0;
    if (p->o.across) return 1;
    for (int64_t d = mz_shards_document_of(p->shards, at) + 1;; d++) {
        const int64_t start = mz_shards_document_start(p->shards, d);
        if (start >= at + n) return k;
        p->starts[k++] = (int32_t)(start - at);
    }
}

mz_err mz_pieces_sample(mz_pieces *p, int64_t i, mz_sample *sample)
{
    const int64_t seq = p->o.seq;
    int64_t at = i * seq, n = seq + 1, sequences = 1;
    p->starts[0] = 0;
    if (p->o.pack) {
        sequences = find_starts(p, at, n);
    } else {
        const int64_t d = document_with(p, i);
        const int64_t end = mz_shards_document_start(p->shards, d + 1);
        at = mz_shards_document_start(p->shards, d) + (i - p->first[d]) * seq;
        n = end - at < n ? end - at : n;
    }
    MZ_TRY(mz_shards_read(p->shards, at, n, p->ids));
    *sample =
        (mz_sample){.ids = p->ids, .n = n, .starts = p->starts, .sequences = sequences, .at = i};
    return MZ_OK;
}
