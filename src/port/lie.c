/* SPDX-License-Identifier: Apache-2.0 */
/* port/lie.c - asks the chip whether weights may lie as they do in their file. Floor: port. */
#include "port/lie.h"

#include "base/log.h"

#include <string.h>

static mz_err ask(const mz_lie *l, const mz_desc *desc)
{
    mz_support support;
    return mz_op_query(l->q, desc, &support);
}

/* One row of everything: what the chip takes does not hang on how many there are. */
static mz_err ask_matmul(const mz_lie *l, const mz_param *p, mz_dtype stored)
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

static mz_err ask_experts(const mz_lie *l, const mz_param *p, mz_dtype stored)
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

static mz_err ask_embed(const mz_lie *l, const mz_param *p, mz_dtype stored)
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

static void say(mz_lie *l, mz_dtype stored)
{
    if (l->was_said[stored]) return;
    l->was_said[stored] = true;
    mz_log(MZ_LOG_WARN, "chip %s takes no weights of %s, so they are unpacked to %s: %s",
           l->q->device->info.name, mz_dtype_name(stored), mz_dtype_name(l->dtype),
           mz_err_last()->message);
}

/* Unpacked to bf16 a weight would be rounded and need no less room: it may as well lie as it does,
 * and is rounded on its way to the products. */
static bool is_rounded(const mz_lie *l, mz_dtype stored)
{
    return l->dtype == MZ_BF16 &&
           mz_dtype_block_bytes(stored) <= 2 * (size_t)mz_dtype_block(stored);
}

mz_err mz_lie_ask(mz_lie *l, const mz_param *p, mz_dtype stored, bool *takes)
{
    *takes = true;
    if (stored == l->dtype) return MZ_OK;
    if (l->only_same && !is_rounded(l, stored)) return *takes = false, MZ_OK;
    const mz_err err = p->kind == MZ_PARAM_EMBED ? ask_embed(l, p, stored)
                       : p->rank == 3            ? ask_experts(l, p, stored)
                                                 : ask_matmul(l, p, stored);
    if (err != MZ_ENOTSUP) return err;
    *takes = false;
    if (!l->only_same) say(l, stored);
    return MZ_OK;
}
