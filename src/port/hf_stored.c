/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf_stored.c - how the tensors of a Hugging Face folder may lie. Floor: port. */
#include "port/hf_stored.h"

#include <string.h>

/* The dtype of all tensors on disk of p, false if it is none that weights are stored in. */
static mz_err find_dtype(const mz_hub *hub, const mz_param *p, mz_dtype *dtype, bool *found,
                         bool *aligned)
{
    char name[160];
    *found = *aligned = true;
    for (int64_t e = 0; e < mz_param_disk_count(p) && *found; e++) {
        MZ_TRY(mz_param_disk_name(p, e, name, sizeof name));
        const mz_st_tensor *t = mz_hub_find(hub, name);
        *found = t && (t->dtype == MZ_F32 || t->dtype == MZ_F16 || t->dtype == MZ_BF16) &&
                 (e == 0 || t->dtype == *dtype);
        if (!*found) return MZ_OK; /* of what is missing, loading says so */
        *dtype = t->dtype;
        *aligned = t->offset % mz_dtype_bytes(t->dtype) == 0;
    }
    return MZ_OK;
}

mz_err mz_hf_stored(void *user, const mz_param *p, mz_stored *out)
{
    mz_hf_lie *l = user;
    mz_lie *lie = &l->lie;
    mz_dtype dtype = lie->dtype;
    bool found, aligned, takes;
    if (lie->config->mla && strstr(p->name, ".kv_b_proj.")) return MZ_OK;
    MZ_TRY(find_dtype(l->hub, p, &dtype, &found, &aligned));
    if (!found) return MZ_OK;
    MZ_TRY(mz_lie_ask(lie, p, dtype, &takes));
    if (!takes) return MZ_OK;
    out->dtype = dtype;
    out->outside = !p->by_expert && aligned && lie->q->device->chip->wraps;
    return MZ_OK;
}

mz_err mz_hf_map(mz_params *p, int64_t i, mz_queue *q, const mz_st_tensor *t)
{
    mz_param *own = &p->list[i];
    MZ_NEED(own->outside && own->dtype == t->dtype, "%s was to lie as in another file", own->name);
    if (!p->mapped) MZ_TRY(mz_params_new_mapped(p, p->n));
    mz_buffer_free(p->mapped[i]);
    p->mapped[i] = NULL;
    MZ_TRY(mz_buffer_wrap(&p->mapped[i], q->device, t->data, (size_t)t->bytes));
    own->w.buf = p->mapped[i];
    own->w.offset_bytes = 0;
    return MZ_OK;
}
