/* SPDX-License-Identifier: Apache-2.0 */
/* infer/chain.c - see chain.h. */
#include "infer/chain.h"

#include "base/mem.h"
#include "model/part.h"

mz_chips mz_one_chip(mz_device *device)
{
    return (mz_chips){.n = 1, .at = {{.device = device}}};
}

mz_model *mz_chain_model(const mz_chain *c)
{
    return c->link[c->chips->n - 1].model;
}

mz_queue *mz_chain_queue(const mz_chain *c)
{
    return c->link[c->chips->n - 1].queue;
}

mz_err mz_chain_open(mz_chain *c, mz_chips *chips)
{
    MZ_NEED(c && chips && chips->n >= 1 && chips->n <= MZ_CHIPS_MAX, "no chain, or no chips");
    c->chips = chips;
    for (int64_t i = 0; i < chips->n; i++)
        MZ_TRY(mz_queue_open(&c->link[i].queue, chips->at[i].device));
    return MZ_OK;
}

void mz_chain_close(mz_chain *c)
{
    for (int64_t i = c->chips ? c->chips->n - 1 : -1; i >= 0; i--) {
        mz_model_free(c->link[i].model);
        mz_queue_close(c->link[i].queue);
    }
    mz_mem_free(c->hidden[0]);
    mz_mem_free(c->hidden[1]);
    *c = (mz_chain){0};
}

/* ---- which layers ---- */

/* Layers that nobody asked for are shared out evenly, the first ones taking one more. */
static mz_err share_out(mz_chips *chips, int64_t layers)
{
    int64_t asked = 0, open = 0;
    for (int64_t i = 0; i < chips->n; i++) {
        asked += chips->at[i].layers;
        open += chips->at[i].layers == 0;
    }
    const int64_t left = layers - asked;
    if (open == 0 ? left != 0 : left < open)
        return MZ_FAIL(MZ_EUSAGE, "the ranks ask for %lld layers%s, the network has %lld",
                       (long long)(asked + open), open > 0 ? " or more" : "", (long long)layers);
    for (int64_t i = 0, k = 0; i < chips->n; i++)
        if (chips->at[i].layers == 0) chips->at[i].layers = left / open + (k++ < left % open);
    return MZ_OK;
}

static int64_t first_of(const mz_chain *c, int64_t i)
{
    int64_t first = 0;
    while (i-- > 0) first += c->chips->at[i].layers;
    return first;
}

/* The note of a failure with the layers and the chip that it comes from. */
static mz_err say_where(const mz_chain *c, int64_t i, mz_err err)
{
    if (err == MZ_OK || c->chips->n == 1) return err;
    const mz_placed *at = &c->chips->at[i];
    const int64_t first = first_of(c, i);
    const mz_err_info why = *mz_err_last();
    mz_note(err, why.source, why.line, "layers %lld to %lld on %s: %s", (long long)first,
            (long long)(first + at->layers - 1), at->device->info.name, why.message);
    mz_note_where(why.file, why.field, why.offset);
    if (why.fix[0])
        mz_note_fix("%s", why.fix);
    else if (err == MZ_ENOMEM)
        mz_note_fix("give this rank fewer layers");
    return err;
}

mz_err mz_chain_load(mz_chain *c, const mz_source *s, const mz_model_options *options,
                     bool as_stored)
{
    MZ_NEED(c && c->chips && s && options, "the chain is not open, or no source or options");
    MZ_NEED(!options->weights || c->chips->n == 1, "weights of one chip for several");
    const mz_config *config = mz_source_config(s);
    const int64_t n = c->chips->n, width = config->width * (int64_t)mz_dtype_bytes(options->dtype);
    MZ_TRY(share_out(c->chips, config->layers));
    for (int64_t i = 0; i < n; i++) {
        mz_link *l = &c->link[i];
        mz_model_options o = *options;
        if (n > 1) o.part_first = first_of(c, i), o.part_layers = c->chips->at[i].layers;
        const mz_err err = o.weights ? mz_model_new(&l->model, l->queue, config, &o)
                                     : mz_source_model(&l->model, s, l->queue, &o, as_stored);
        MZ_TRY(say_where(c, i, err));
    }
    for (int k = 0; k < 2 && n > 1; k++)
        MZ_TRY(mz_mem_new(&c->hidden[k], options->tokens_max * width, 1));
    return MZ_OK;
}

/* ---- the calls ---- */

/* cached may be NULL. */
static mz_err pass(mz_chain *c, const mz_batch *batch, const mz_cached *cached)
{
    for (int64_t i = 0; i < c->chips->n; i++) {
        const void *in = i > 0 ? c->hidden[(i - 1) % 2] : NULL;
        void *out = i + 1 < c->chips->n ? c->hidden[i % 2] : NULL;
        MZ_TRY(say_where(c, i, mz_part_cached(c->link[i].model, batch, cached, in, out)));
    }
    return MZ_OK;
}

mz_err mz_chain_forward(mz_chain *c, const mz_batch *batch)
{
    MZ_NEED(c && c->chips && batch, "no chain or no batch");
    return c->chips->n == 1 ? mz_model_forward(c->link[0].model, batch) : pass(c, batch, NULL);
}

mz_err mz_chain_cached(mz_chain *c, const mz_batch *batch, const mz_cached *cached)
{
    MZ_NEED(c && c->chips && batch && cached, "no chain, no batch or no cache");
    return c->chips->n == 1 ? mz_model_cached(c->link[0].model, batch, cached)
                            : pass(c, batch, cached);
}
