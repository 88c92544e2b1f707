/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_save.c - parameters from a chip into a GGUF: every key that llama.cpp reads, then the
 * tensors, a few groups of rows at a time.
 * Floor:  port. */
#include "port/gguf.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "port/disk.h"
#include "port/gguf_parts.h"
#include "port/words.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 1 << 18, KEY_BYTES = 96 };

/* ---- keys ---- */

typedef struct keys {
    mz_gguf_writer *w;
    const char *arch;
    mz_err err; /* the first; what comes after it is not written */
} keys;

static void put_int(keys *k, const char *key, int64_t x)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%s.%s", k->arch, key);
    if (k->err == MZ_OK) k->err = mz_gguf_writer_u32(k->w, name, x);
}

static void put_real(keys *k, const char *key, double x)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%s.%s", k->arch, key);
    if (k->err == MZ_OK) k->err = mz_gguf_writer_f32(k->w, name, x);
}

static void put_bool(keys *k, const char *key, bool x)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%s.%s", k->arch, key);
    if (k->err == MZ_OK) k->err = mz_gguf_writer_bool(k->w, name, x);
}

static void put_text(keys *k, const char *key, const char *x)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%s.%s", k->arch, key);
    if (k->err == MZ_OK) k->err = mz_gguf_writer_text(k->w, name, x);
}

static void put_moe(keys *k, const mz_moe_config *m)
{
    put_int(k, "leading_dense_block_count", m->first_dense);
    put_int(k, "expert_count", m->experts);
    put_int(k, "expert_used_count", m->top_k);
    put_int(k, "expert_feed_forward_length", m->width);
    put_int(k, "expert_shared_count", m->shared);
    put_int(k, "expert_gating_func", m->sigmoid ? 2 : 1);
    put_bool(k, "expert_weights_norm", m->normalise);
    put_real(k, "expert_weights_scale", m->factor);
    if (m->groups == 1) return;
    put_int(k, "expert_group_count", m->groups);
    put_int(k, "expert_group_used_count", m->groups_kept);
}

static void put_attention(keys *k, const mz_config *c)
{
    put_int(k, "attention.head_count", c->heads);
    put_real(k, "attention.layer_norm_rms_epsilon", c->rms_eps);
    put_int(k, "rope.dimension_count", c->rope.dims);
    put_real(k, "rope.freq_base", c->rope.theta);
    if (!c->mla) {
        put_int(k, "attention.head_count_kv", c->kv_heads);
        put_int(k, "attention.key_length", c->head_dim);
        put_int(k, "attention.value_length", c->head_dim);
        return;
    }
    /* as llama.cpp runs it: one key head, the latent and the rotated columns side by side */
    put_int(k, "attention.head_count_kv", 1);
    put_int(k, "attention.key_length", c->kv_rank + c->rope_dim);
    put_int(k, "attention.value_length", c->kv_rank);
    put_int(k, "attention.key_length_mla", c->head_dim);
    put_int(k, "attention.value_length_mla", c->v_dim);
    if (c->q_rank > 0) put_int(k, "attention.q_lora_rank", c->q_rank);
    put_int(k, "attention.kv_lora_rank", c->kv_rank);
}

static void put_scaling(keys *k, const mz_config *c)
{
    const mz_rope_config *r = &c->rope;
    if (r->scaling != MZ_ROPE_LINEAR && r->scaling != MZ_ROPE_YARN) return;
    put_text(k, "rope.scaling.type", r->scaling == MZ_ROPE_YARN ? "yarn" : "linear");
    put_real(k, "rope.scaling.factor", r->factor);
    if (r->scaling == MZ_ROPE_LINEAR) return;
    put_int(k, "rope.scaling.original_context_length", r->original_max_position);
    if (fabs(r->beta_fast - 32.0) > 0.0) put_real(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
    if (fabs(r->beta_slow - 1.0) > 0.0) put_real(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (c->mla) { /* the factor on cosines is in the rows that are rotated */
        put_real(k, "rope.scaling.yarn_log_multiplier", 0.1 * r->mscale_all_dim);
        return;
    }
    const double usual = r->factor > 1.0 ? 0.1 * log(r->factor) + 1.0 : 1.0;
    const double part = mz_rope_attention_factor(r) / usual;
    if (fabs(part - 1.0) > 1e-9) put_real(k, "rope.scaling.attn_factor", part);
}

static int64_t file_type(mz_ggml t)
{
    return t == MZ_GGML_F32    ? 0
           : t == MZ_GGML_F16  ? 1
           : t == MZ_GGML_Q4_0 ? 2
           : t == MZ_GGML_Q8_0 ? 7
                               : 32; /* BF16 */
}

static mz_err put_general(mz_gguf_writer *w, const char *arch, const mz_gguf_export *o)
{
    mz_quant quant;
    MZ_TRY(mz_gguf_writer_text(w, "general.architecture", arch));
    MZ_TRY(mz_gguf_writer_text(w, "general.type", "model"));
    if (o->name) MZ_TRY(mz_gguf_writer_text(w, "general.name", o->name));
    MZ_TRY(mz_gguf_writer_u32(w, "general.file_type", file_type(o->type)));
    if (!mz_ggml_quant(o->type, &quant)) return MZ_OK;
    return mz_gguf_writer_u32(w, "general.quantization_version", 2);
}

/* "none": llama.cpp then takes the vocabulary's size from the keys and asks for no tokens. */
static mz_err put_tokenizer(mz_gguf_writer *w, const mz_gguf *from)
{
    for (int64_t i = 0; from && i < mz_gguf_key_count(from); i++) {
        const mz_gguf_key *key = mz_gguf_key_at(from, i);
        if (mz_str_starts(key->name, "tokenizer.")) MZ_TRY(mz_gguf_writer_copy(w, key));
    }
    if (from && mz_gguf_key_find(from, "tokenizer.ggml.model")) return MZ_OK;
    return mz_gguf_writer_text(w, "tokenizer.ggml.model", "none");
}

static mz_err put_keys(mz_gguf_writer *w, const mz_config *c, const mz_gguf_export *o)
{
    keys k = {.w = w, .arch = mz_gguf_architecture(c)};
    MZ_TRY(put_general(w, k.arch, o));
    put_int(&k, "vocab_size", c->vocab);
    put_int(&k, "context_length", c->max_position);
    put_int(&k, "embedding_length", c->width);
    put_int(&k, "block_count", c->layers);
    put_int(&k, "feed_forward_length", c->mlp_width);
    put_attention(&k, c);
    put_scaling(&k, c);
    if (c->moe.experts > 0) put_moe(&k, &c->moe);
    MZ_TRY(k.err);
    if (o->words && o->words->vocab) return mz_words_to_gguf(o->words, w, c->vocab);
    return put_tokenizer(w, o->tokenizer);
}

/* ---- what cannot be said ---- */

static mz_err check_config(const mz_config *c)
{
    const char *what = NULL;
    if (!mz_gguf_architecture(c)) return MZ_ENOTSUP;
    if (c->mla && c->rope.scaling != MZ_ROPE_YARN && c->rope.mscale_all_dim > 0.0)
        what = "mscale_all_dim without yarn";
    if (c->moe.layer_freq > 1) what = "layers with experts that are not one after the other";
    if (c->mla && c->moe.experts == 0) what = "latent attention without experts";
    if (c->rope.scaling == MZ_ROPE_YARN && !c->rope.truncate) what = "yarn without truncation";
    if (c->rope.scaling == MZ_ROPE_LLAMA3 && c->family != MZ_FAMILY_LLAMA)
        what = "llama3 rope scaling in another family";
    if (what) return MZ_FAIL(MZ_ENOTSUP, "GGUF cannot say %s", what);
    if (c->mtp_layers > 0)
        mz_log(MZ_LOG_WARN, "the MTP layers are left out: GGUF has no place for them");
    return MZ_OK;
}

/* ---- tensors ---- */

/* Norms, biases, routers: what is small, or decides. */
static mz_ggml type_of(const mz_gguf_part *part, mz_ggml wanted)
{
    const mz_param_kind kind = part->param->kind;
    if (part->rank == 1 || (kind != MZ_PARAM_MATRIX && kind != MZ_PARAM_EMBED)) return MZ_GGML_F32;
    if (mz_str_ends(part->name, "ffn_gate_inp.weight")) return MZ_GGML_F32;
    return part->out_cols % mz_ggml_block(wanted) == 0 ? wanted : MZ_GGML_F16;
}

static mz_err encode(mz_ggml type, void *out, const float *x, int64_t n)
{
    mz_quant quant;
    mz_dtype dtype;
    if (mz_ggml_quant(type, &quant)) return mz_quant_encode(quant, out, x, n);
    const float limit = type == MZ_GGML_F16 ? 65519.0f : INFINITY; /* what rounds to a half */
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= limit) || !isfinite(x[i]))
            return MZ_FAIL(MZ_ENUMERIC, "%g cannot be written as %s", (double)x[i],
                           mz_ggml_name(type));
    MZ_NEED(mz_ggml_dtype(type, &dtype), "no encoder for this type");
    return mz_convert(out, dtype, x, MZ_F32, n);
}

typedef struct rooms {
    unsigned char *raw; /* as it comes from the chip, then as it goes to the file */
    float *ours, *file;
} rooms;

static mz_err save_part(mz_gguf_writer *w, mz_queue *q, const mz_gguf_part *part, mz_ggml type,
                        const rooms *room)
{
    const mz_tensor *p = &part->param->w;
    const int64_t each = part->in_rows * part->cols, out = part->out_rows * part->out_cols;
    const int64_t step = each < CHUNK ? CHUNK / each : 1, block = mz_ggml_block(type);
    for (int64_t g = 0; g < part->groups; g += step) {
        const int64_t n = part->groups - g < step ? part->groups - g : step, count = n * each;
        const mz_tensor run = mz_disk_run(p, g * each, count);
        MZ_TRY(mz_download(q, room->raw, &run));
        MZ_TRY(mz_queue_sync(q));
        MZ_TRY(mz_convert(room->ours, MZ_F32, room->raw, p->dtype, count));
        for (int64_t k = 0; k < n; k++)
            mz_gguf_part_out(part, room->file + k * out, room->ours + k * each);
        const mz_err err = encode(type, room->raw, room->file, n * out);
        if (err != MZ_OK) {
            mz_note_where(NULL, part->name, -1);
            return err;
        }
        MZ_TRY(mz_gguf_writer_put(w, room->raw,
                                  (size_t)(n * out / block) * mz_ggml_block_bytes(type)));
    }
    return MZ_OK;
}

static mz_err new_rooms(rooms *room, const mz_gguf_part *list, int64_t n)
{
    int64_t most = CHUNK;
    for (int64_t i = 0; i < n; i++)
        if (list[i].in_rows * list[i].cols > most) most = list[i].in_rows * list[i].cols;
    MZ_TRY(mz_mem_new(&room->raw, most, sizeof(double)));
    MZ_TRY(mz_mem_new(&room->ours, most, sizeof *room->ours));
    return mz_mem_new(&room->file, most, sizeof *room->file);
}

/* llama3's scaling as the divisors of the frequencies, [K/2]; divisors NULL: none. */
static mz_err make_divisors(float **divisors, const mz_rope_config *r)
{
    if (r->scaling != MZ_ROPE_LLAMA3) return MZ_OK;
    const int64_t half = r->dims / 2;
    mz_rope_config plain = *r;
    float *d = NULL;
    plain.scaling = MZ_ROPE_DEFAULT;
    MZ_TRY(mz_mem_new(&d, 2 * half, sizeof *d));
    mz_err err = mz_rope_frequencies(&plain, d);
    if (err == MZ_OK) err = mz_rope_frequencies(r, d + half);
    for (int64_t j = 0; err == MZ_OK && j < half; j++) d[j] = d[j] / d[half + j];
    if (err != MZ_OK) {
        mz_mem_free(d);
        return err;
    }
    *divisors = d;
    return MZ_OK;
}

static mz_err write_all(mz_gguf_writer *w, mz_queue *q, const mz_config *c,
                        const mz_gguf_part *parts, int64_t n, mz_ggml type)
{
    const int64_t half = c->rope.dims / 2;
    float *divisors = NULL;
    rooms room = {0};
    mz_err err = make_divisors(&divisors, &c->rope);
    if (err == MZ_OK && divisors)
        err = mz_gguf_writer_declare(w, "rope_freqs.weight", MZ_GGML_F32, 1, &half);
    for (int64_t i = 0; err == MZ_OK && i < n; i++)
        err = mz_gguf_writer_declare(w, parts[i].name, type_of(&parts[i], type), parts[i].rank,
                                     parts[i].dim);
    if (err == MZ_OK) err = mz_gguf_writer_begin(w);
    if (err == MZ_OK && divisors)
        err = mz_gguf_writer_put(w, divisors, (size_t)half * sizeof *divisors);
    if (err == MZ_OK) err = new_rooms(&room, parts, n);
    for (int64_t i = 0; err == MZ_OK && i < n; i++)
        err = save_part(w, q, &parts[i], type_of(&parts[i], type), &room);
    mz_mem_free(room.file);
    mz_mem_free(room.ours);
    mz_mem_free(room.raw);
    mz_mem_free(divisors);
    return err;
}

mz_err mz_gguf_save_params(const mz_params *p, mz_queue *q, const mz_config *c, const char *path,
                           const mz_gguf_export *o)
{
    MZ_NEED(p && q && c && path && o && p->weights, "no parameters with buffers, queue or path");
    MZ_NEED(o->type == MZ_GGML_F32 || o->type == MZ_GGML_F16 || o->type == MZ_GGML_BF16 ||
                o->type == MZ_GGML_Q8_0 || o->type == MZ_GGML_Q4_0,
            "weights cannot be written as %s", mz_ggml_name(o->type));
    mz_gguf_writer *w = NULL;
    mz_gguf_part *parts = NULL;
    int64_t n = 0;
    MZ_TRY(check_config(c));
    MZ_TRY(mz_gguf_parts(&parts, &n, p, c, c->mla));
    mz_err err = mz_gguf_writer_new(&w, path);
    if (err == MZ_OK) err = put_keys(w, c, o);
    if (err == MZ_OK) err = write_all(w, q, c, parts, n, o->type);
    if (err == MZ_OK)
        err = mz_gguf_writer_commit(w);
    else
        mz_gguf_writer_abort(w);
    mz_mem_free(parts);
    return err;
}
