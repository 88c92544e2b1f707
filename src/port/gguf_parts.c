/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_parts.c - names and orders of rows of llama.cpp's architectures. Floor: port. */
#include "port/gguf_parts.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a layer: after "model.layers.N." here, after "blk.N." there. A name that ends with a point
 * stands for weight and bias. */
static const struct {
    const char *ours, *theirs;
} NAMES[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.q_a_proj.weight", "attn_q_a.weight"},
    {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
    {"self_attn.q_b_proj.weight", "attn_q_b.weight"},
    {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
    {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
    {"self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
    {"mlp.gate.weight", "ffn_gate_inp.weight"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.experts.{e}.gate_proj.weight", "ffn_gate_exps.weight"},
    {"mlp.experts.{e}.up_proj.weight", "ffn_up_exps.weight"},
    {"mlp.experts.{e}.down_proj.weight", "ffn_down_exps.weight"},
    {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
    {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
    {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
};
static const char LAYER[] = "model.layers.";

const char *mz_gguf_architecture(const mz_config *c)
{
    switch (c->family) {
    case MZ_FAMILY_LLAMA:
        return "llama";
    case MZ_FAMILY_QWEN2:
        return "qwen2";
    case MZ_FAMILY_QWEN3:
        return "qwen3";
    case MZ_FAMILY_DEEPSEEK_V2:
    case MZ_FAMILY_DEEPSEEK_V3:
        return "deepseek2";
    case MZ_FAMILY_DEEPSEEK:
    case MZ_FAMILY_COUNT:
        break;
    }
    (void)MZ_FAIL(MZ_ENOTSUP, "the family %s is not written as GGUF", mz_family_name(c->family));
    return NULL;
}

static mz_err no_name(const mz_param *p)
{
    return MZ_FAIL(MZ_ENOTSUP, "GGUF has no place for %s in this architecture", p->name);
}

/* The name of a layer's parameter without its layer, and the layer; NULL if it is of none. */
static const char *in_layer(const char *name, int64_t *layer)
{
    if (!mz_str_starts(name, LAYER)) return NULL;
    char *end = NULL;
    const long long n = strtoll(name + strlen(LAYER), &end, 10);
    *layer = n;
    return *end == '.' ? end + 1 : NULL;
}

static mz_err name_part(mz_gguf_part *part, const char *rest, int64_t layer)
{
    for (int i = 0; i < MZ_COUNT(NAMES); i++) {
        const size_t n = strlen(NAMES[i].ours);
        const bool open = NAMES[i].ours[n - 1] == '.';
        if (open ? !mz_str_starts(rest, NAMES[i].ours) : strcmp(rest, NAMES[i].ours) != 0) continue;
        snprintf(part->name, sizeof part->name, "blk.%lld.%s%s", (long long)layer, NAMES[i].theirs,
                 open ? rest + n : "");
        return MZ_OK;
    }
    return no_name(part->param);
}

/* A group is one row, or the only one. */
static void plain(mz_gguf_part *part)
{
    const mz_param *p = part->param;
    part->kind = MZ_PART_PLAIN;
    part->cols = part->out_cols = p->dim[p->rank - 1];
    part->groups = part->in_rows = part->out_rows = 1;
    part->rank = p->rank;
    part->scale = 1.0f;
    for (int i = 0; i < p->rank; i++) {
        part->dim[i] = p->dim[i];
        if (i < p->rank - 1) part->groups *= p->dim[i];
    }
}

/* Groups of `rows` rows, of which the last `tail` are rotated. */
static void rotated(mz_gguf_part *part, int64_t rows, int64_t tail, bool turn, float scale)
{
    const mz_param *p = part->param;
    part->kind = turn ? MZ_PART_TURNED : MZ_PART_SCALED;
    part->groups = p->dim[0] / rows;
    part->in_rows = part->out_rows = rows;
    part->cols = part->out_cols = p->rank == 2 ? p->dim[1] : 1;
    part->tail = tail;
    part->scale = scale;
}

/* kv_b [H (nope + v), r]: per head [r, nope] and [v, r]. */
static void split_kv(mz_gguf_part part[2], const mz_config *c, int64_t layer)
{
    const int64_t heads = c->heads, rank = c->kv_rank;
    for (int i = 0; i < 2; i++) {
        mz_gguf_part *one = &part[i];
        one->kind = i == 0 ? MZ_PART_KEYS : MZ_PART_VALUES;
        one->groups = heads;
        one->in_rows = c->nope_dim + c->v_dim;
        one->cols = rank;
        one->out_rows = i == 0 ? rank : c->v_dim;
        one->out_cols = i == 0 ? c->nope_dim : rank;
        one->rank = 3;
        one->dim[0] = heads, one->dim[1] = one->out_rows, one->dim[2] = one->out_cols;
        snprintf(one->name, sizeof one->name, "blk.%lld.attn_%c_b.weight", (long long)layer,
                 i == 0 ? 'k' : 'v');
    }
}

static bool is_proj(const char *rest, const char *name)
{
    return mz_str_starts(rest, name);
}

/* Fills one part, or two; *n grows. */
static mz_err add_parts(mz_gguf_part *list, int64_t *n, const mz_param *p, const mz_config *c,
                        bool split)
{
    mz_gguf_part *part = &list[*n];
    int64_t layer = -1;
    const char *rest = in_layer(p->name, &layer);
    if (rest && layer >= c->layers) return MZ_OK; /* an MTP layer */
    *part = (mz_gguf_part){.param = p};
    plain(part);
    *n += 1;
    if (!rest) {
        const char *name = strcmp(p->name, "model.embed_tokens.weight") == 0 ? "token_embd.weight"
                           : strcmp(p->name, "model.norm.weight") == 0       ? "output_norm.weight"
                           : strcmp(p->name, "lm_head.weight") == 0          ? "output.weight"
                                                                             : NULL;
        if (!name) return no_name(p);
        snprintf(part->name, sizeof part->name, "%s", name);
        return MZ_OK;
    }
    const bool may_bias = c->family == MZ_FAMILY_LLAMA || c->family == MZ_FAMILY_QWEN2;
    if (p->kind == MZ_PARAM_BIAS && !may_bias) return no_name(p);
    MZ_TRY(name_part(part, rest, layer));
    const float factor = c->mla ? (float)mz_rope_attention_factor(&c->rope) : 1.0f;
    const bool turn = c->mla && !c->rope.interleaved;
    const bool moved = turn || factor < 1.0f || factor > 1.0f;
    const bool q = is_proj(rest, "self_attn.q_proj."), k = is_proj(rest, "self_attn.k_proj.");
    if (c->family == MZ_FAMILY_LLAMA && (q || k)) rotated(part, c->head_dim, c->head_dim, true, 1);
    if (c->mla && moved && (q || is_proj(rest, "self_attn.q_b_proj.")))
        rotated(part, c->head_dim, c->rope_dim, turn, factor);
    if (c->mla && moved && is_proj(rest, "self_attn.kv_a_proj_with_mqa."))
        rotated(part, p->dim[0], c->rope_dim, turn, factor);
    if (split && is_proj(rest, "self_attn.kv_b_proj.")) {
        part[1] = part[0];
        split_kv(part, c, layer);
        *n += 1;
    }
    return MZ_OK;
}

mz_err mz_gguf_part_of(mz_gguf_part part[2], int64_t *n, const mz_param *p, const mz_config *c,
                       bool split)
{
    int64_t count = 0;
    MZ_TRY(add_parts(part, &count, p, c, split));
    *n = count;
    return MZ_OK;
}

mz_err mz_gguf_parts(mz_gguf_part **list, int64_t *n, const mz_params *p, const mz_config *c,
                     bool split)
{
    MZ_NEED(list && n && p && c, "no parameters, config, or place for parts");
    mz_gguf_part *made = NULL;
    int64_t count = 0;
    MZ_TRY(mz_mem_new(&made, 2 * p->n, sizeof *made));
    for (int64_t i = 0; i < p->n; i++) {
        const mz_err err = add_parts(made, &count, &p->list[i], c, split);
        if (err != MZ_OK) {
            mz_mem_free(made);
            return err;
        }
    }
    *list = made;
    *n = count;
    return MZ_OK;
}

/* ---- one group ---- */

int64_t mz_gguf_part_row(const mz_gguf_part *part, int64_t i)
{
    const int64_t first = part->in_rows - part->tail, j = i - first, half = part->tail / 2;
    if (part->kind != MZ_PART_TURNED || j < 0) return i;
    return first + (j < half ? 2 * j : 2 * (j - half) + 1);
}

static void copy_row(float *to, const float *from, int64_t n, float scale)
{
    if (scale < 1.0f || scale > 1.0f)
        for (int64_t k = 0; k < n; k++) to[k] = from[k] * scale;
    else
        memcpy(to, from, (size_t)n * sizeof *to);
}

void mz_gguf_part_out(const mz_gguf_part *part, float *out, const float *in)
{
    const int64_t cols = part->cols, first = part->in_rows - part->tail;
    if (part->kind == MZ_PART_KEYS) {
        for (int64_t r = 0; r < part->out_rows; r++)
            for (int64_t i = 0; i < part->out_cols; i++)
                out[r * part->out_cols + i] = in[i * cols + r];
        return;
    }
    if (part->kind == MZ_PART_VALUES) {
        const int64_t skip = part->in_rows - part->out_rows;
        copy_row(out, in + skip * cols, part->out_rows * cols, 1.0f);
        return;
    }
    for (int64_t i = 0; i < part->in_rows; i++)
        copy_row(out + mz_gguf_part_row(part, i) * cols, in + i * cols, cols,
                 i >= first ? part->scale : 1.0f);
}

void mz_gguf_part_in(const mz_gguf_part *part, float *in, const float *out)
{
    const int64_t cols = part->cols;
    if (part->kind == MZ_PART_KEYS) {
        for (int64_t i = 0; i < part->out_cols; i++)
            for (int64_t r = 0; r < part->out_rows; r++)
                in[i * cols + r] = out[r * part->out_cols + i];
        return;
    }
    if (part->kind == MZ_PART_VALUES) {
        const int64_t skip = part->in_rows - part->out_rows;
        copy_row(in + skip * cols, out, part->out_rows * cols, 1.0f);
        return;
    }
    /* what is read has its factor in it already, and its config says so: no division here */
    for (int64_t i = 0; i < part->in_rows; i++)
        copy_row(in + i * cols, out + mz_gguf_part_row(part, i) * cols, cols, 1.0f);
}
