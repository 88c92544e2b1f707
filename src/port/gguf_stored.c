/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_stored.c - how the tensors of a GGUF may lie. Floor: port. */
#include "port/gguf_stored.h"

#include <string.h>

bool mz_gguf_stored_dtype(mz_ggml type, mz_dtype *out)
{
    mz_quant quant;
    if (mz_ggml_quant(type, &quant)) return *out = mz_quant_dtype(quant), true;
    return mz_ggml_dtype(type, out) && (*out == MZ_F32 || *out == MZ_F16 || *out == MZ_BF16);
}

bool mz_gguf_part_is_rows(const mz_gguf_part *part, bool *in_order)
{
    *in_order = part->kind == MZ_PART_PLAIN || part->kind == MZ_PART_SCALED;
    return *in_order || part->kind == MZ_PART_TURNED;
}

mz_err mz_gguf_stored(void *user, const mz_param *p, mz_stored *out)
{
    mz_gguf_lie *l = user;
    mz_lie *lie = &l->lie;
    mz_gguf_part part[2];
    int64_t n = 0;
    mz_dtype stored;
    bool in_order;
    MZ_TRY(mz_gguf_part_of(part, &n, p, lie->config, false));
    if (n != 1 || !mz_gguf_part_is_rows(part, &in_order)) return MZ_OK;
    if (lie->config->mla && strstr(p->name, ".kv_b_proj.")) return MZ_OK;
    const mz_gguf_tensor *t = mz_gguf_find(l->file, part->name);
    if (!t || !mz_gguf_stored_dtype(t->type, &stored))
        return MZ_OK; /* loading says what is wrong */
    const size_t element = mz_dtype_bytes(stored);
    const bool aligned = element == 0 || t->offset % element == 0;
    bool takes;
    MZ_TRY(mz_lie_ask(lie, p, stored, &takes));
    if (!takes) return MZ_OK;
    out->dtype = stored;
    out->outside = in_order && aligned && lie->q->device->chip->wraps;
    return MZ_OK;
}
