/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_stored.c - asks the chip how the tensors of a GGUF may lie. Floor: port. */
#include "port/gguf_stored.h"

#include "base/log.h"
#include "base/str.h"

#include <string.h>

bool mz_gguf_stored_dtype(mz_ggml type, mz_dtype *out)
{
    mz_quant quant;
    if (mz_ggml_quant(type, &quant)) return *out = mz_quant_dtype(quant), true;
    return mz_ggml_dtype(type, out) && (*out == MZ_F32 || *out == MZ_F16 || *out == MZ_BF16);
}

static mz_err ask(const mz_gguf_lie *l, const mz_desc *desc)
{
    mz_support support;
    return mz_op_query(l->q, desc, &support);
}

/* One row of everything: what the chip takes does not hang on how many there are. */
static mz_err ask_matmul(const mz_gguf_lie *l, const mz_param *p, mz_dtype stored)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_MATMUL;
    d.u.matmul.dtype = l->dtype;
    d.u.matmul.out_dtype = l->dtype;
    d.u.matmul.M_max = 1;
    d.u.matmul.N_max = p->dim[0];
    d.u.matmul.K_max = p->dim[1];
    d.u.matmul.trans_b = true;
    d.u.matmul.stored = stored;
    return ask(l, &d);
}

static mz_err ask_experts(const mz_gguf_lie *l, const mz_param *p, mz_dtype stored)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_EXPERTS;
    d.u.experts.dtype = l->dtype;
    d.u.experts.T_max = 1;
    d.u.experts.E = p->dim[0];
    d.u.experts.N = p->dim[1];
    d.u.experts.K = p->dim[2];
    d.u.experts.stored = stored;
    return ask(l, &d);
}

static mz_err ask_embed(const mz_gguf_lie *l, const mz_param *p, mz_dtype stored)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_EMBED;
    d.u.embed.dtype = l->dtype;
    d.u.embed.T_max = 1;
    d.u.embed.V = p->dim[0];
    d.u.embed.D = p->dim[1];
    d.u.embed.stored = stored;
    MZ_TRY(ask(l, &d));
    return l->config->tied ? ask_matmul(l, p, stored) : MZ_OK;
}

static void say(mz_gguf_lie *l, mz_dtype stored)
{
    if (l->was_said[stored]) return;
    l->was_said[stored] = true;
    mz_log(MZ_LOG_WARN, "chip %s takes no weights of %s, so they are unpacked to %s: %s",
           l->q->device->info.name, mz_dtype_name(stored), mz_dtype_name(l->dtype),
           mz_err_last()->message);
}

bool mz_gguf_part_is_rows(const mz_gguf_part *part, bool *in_order)
{
    *in_order = part->kind == MZ_PART_PLAIN || part->kind == MZ_PART_SCALED;
    return *in_order || part->kind == MZ_PART_TURNED;
}

mz_err mz_gguf_stored(void *user, const mz_param *p, mz_stored *out)
{
    mz_gguf_lie *l = user;
    mz_gguf_part part[2];
    int64_t n = 0;
    mz_dtype stored;
    bool in_order;
    MZ_TRY(mz_gguf_part_of(part, &n, p, l->config, false));
    if (n != 1 || !mz_gguf_part_is_rows(part, &in_order)) return MZ_OK;
    if (l->config->mla && strstr(p->name, ".kv_b_proj.")) return MZ_OK;
    const mz_gguf_tensor *t = mz_gguf_find(l->file, part->name);
    if (!t || !mz_gguf_stored_dtype(t->type, &stored))
        return MZ_OK; /* loading says what is wrong */
    if (l->only_same && stored != l->dtype) return MZ_OK;
    const size_t element = mz_dtype_bytes(stored);
    const bool aligned = element == 0 || t->offset % element == 0;
    if (stored != l->dtype) {
        const mz_err err = p->kind == MZ_PARAM_EMBED ? ask_embed(l, p, stored)
                           : p->rank == 3            ? ask_experts(l, p, stored)
                                                     : ask_matmul(l, p, stored);
        if (err == MZ_ENOTSUP) return say(l, stored), MZ_OK;
        MZ_TRY(err);
    }
    out->dtype = stored;
    out->outside = in_order && aligned && l->q->device->chip->wraps;
    return MZ_OK;
}
