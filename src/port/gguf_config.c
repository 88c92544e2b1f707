/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_config.c - a network out of the keys of a GGUF: they are put into the form of a
 * config.json, which model/config checks, and what it refuses is named by its key here.
 * Floor:  port. */
#include "port/gguf.h"

#include "base/mem.h"
#include "base/str.h"
#include "port/gguf_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 96, HEAD_MAX = 65536 };

typedef enum kind { INT, REAL, BOOL } kind;
enum { ALL = 1, GQA = 2, MLA = 4, OLD = 8 }; /* OLD: latent attention with kv_b in one piece */

/* "ARCH.ours" here, "theirs" in config.json. */
static const struct {
    const char *key, *field;
    kind kind;
    unsigned where; /* which networks have it */
    bool must;      /* be there */
} KEYS[] = {
    {"context_length", "max_position_embeddings", INT, ALL, true},
    {"embedding_length", "hidden_size", INT, ALL, true},
    {"block_count", "num_hidden_layers", INT, ALL, true},
    {"feed_forward_length", "intermediate_size", INT, ALL, true},
    {"attention.head_count", "num_attention_heads", INT, ALL, true},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", REAL, ALL, true},
    {"rope.freq_base", "rope_theta", REAL, ALL, false},
    {"vocab_size", "vocab_size", INT, ALL, false},
    {"attention.head_count_kv", "num_key_value_heads", INT, GQA, false},
    {"attention.key_length", "head_dim", INT, GQA, false},
    {"attention.q_lora_rank", "q_lora_rank", INT, MLA, false},
    {"attention.kv_lora_rank", "kv_lora_rank", INT, MLA, true},
    {"rope.dimension_count", "qk_rope_head_dim", INT, MLA, true},
    {"attention.key_length_mla", "qk_nope_head_dim", INT, MLA, true}, /* less rope's columns */
    {"attention.value_length_mla", "v_head_dim", INT, MLA, true},
    {"attention.key_length", "qk_nope_head_dim", INT, OLD, true},
    {"attention.value_length", "v_head_dim", INT, OLD, true},
    {"leading_dense_block_count", "first_k_dense_replace", INT, MLA, true},
    {"expert_count", "n_routed_experts", INT, MLA, true},
    {"expert_used_count", "num_experts_per_tok", INT, MLA, true},
    {"expert_feed_forward_length", "moe_intermediate_size", INT, MLA, true},
    {"expert_shared_count", "n_shared_experts", INT, MLA, true},
    {"expert_group_count", "n_group", INT, MLA, false},
    {"expert_group_used_count", "topk_group", INT, MLA, false},
    {"expert_weights_norm", "norm_topk_prob", BOOL, MLA, false},
    {"expert_weights_scale", "routed_scaling_factor", REAL, MLA, false},
};

/* Keys that would change the numbers, of things that are not here; 0 or false is as good as none.
 */
static const char *const REFUSED[] = {
    "attention.sliding_window", "attention.scale",
    "attention.clamp_kqv",      "attn_logit_softcapping",
    "final_logit_softcapping",  "logit_scale",
    "residual_scale",           "embedding_scale",
    "attention.max_alibi_bias", "rope.scaling.yarn_ext_factor",
};

/* The same, in networks whose blocks are all dense. */
static const char *const REFUSED_DENSE[] = {"expert_count", "expert_used_count"};

typedef struct reader {
    const mz_gguf *file;
    const char *arch;
    unsigned where;
    json_t *json; /* the config.json that comes out */
} reader;

static const char *full_name(char out[KEY_BYTES], const reader *r, const char *key)
{
    snprintf(out, KEY_BYTES, "%s.%s", r->arch, key);
    return out;
}

static const mz_gguf_key *find(const reader *r, const char *key)
{
    char name[KEY_BYTES];
    return mz_gguf_key_find(r->file, full_name(name, r, key));
}

static mz_err missing(const reader *r, const char *key)
{
    char name[KEY_BYTES];
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: this key is missing", full_name(name, r, key));
    mz_note_where(mz_gguf_path(r->file), name, -1);
    return err;
}

static mz_err put(reader *r, const char *field, json_t *value)
{
    return json_object_set_new(r->json, field, value) == 0
               ? MZ_OK
               : MZ_FAIL(MZ_ENOMEM, "no memory for a config");
}

/* The number that an f32 was written for: the shortest decimal that gives it. */
static double tidy(double x)
{
    char text[40];
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        const double short_x = strtod(text, NULL);
        if (!(fabs((double)(float)short_x - (double)(float)x) > 0.0)) return short_x;
    }
    return x;
}

/* One number; a list of them (a value for each layer) is not here. */
static mz_err one_int(const reader *r, const mz_gguf_key *key, int64_t *out)
{
    return !key->is_array && mz_gguf_int(key, 0, out)
               ? MZ_OK
               : mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "expected one whole number");
}

static mz_err one_real(const reader *r, const mz_gguf_key *key, double *out)
{
    double x = 0.0;
    if (key->is_array || !mz_gguf_real(key, 0, &x) || !isfinite(x))
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "expected one finite number");
    *out = tidy(x);
    return MZ_OK;
}

static mz_err put_key(reader *r, int i)
{
    const mz_gguf_key *key = find(r, KEYS[i].key);
    int64_t n = 0;
    double x = 0.0;
    bool yes = false;
    if (!key) return KEYS[i].must ? missing(r, KEYS[i].key) : MZ_OK;
    if (KEYS[i].kind == INT) {
        MZ_TRY(one_int(r, key, &n));
        return put(r, KEYS[i].field, json_integer(n));
    }
    if (KEYS[i].kind == REAL) {
        MZ_TRY(one_real(r, key, &x));
        return put(r, KEYS[i].field, json_real(x));
    }
    if (!mz_gguf_bool(key, &yes)) return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "not a bool");
    return put(r, KEYS[i].field, json_boolean(yes));
}

static mz_err refuse_those(const reader *r, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        const mz_gguf_key *key = find(r, names[i]);
        double x = 0.0;
        if (!key || (!key->is_array && mz_gguf_real(key, 0, &x) && !(fabs(x) > 0.0))) continue;
        return mz_gguf_bad_key(r->file, key, MZ_ENOTSUP, "Mizan does not have this feature");
    }
    return MZ_OK;
}

static mz_err refuse_features(const reader *r)
{
    MZ_TRY(refuse_those(r, REFUSED, MZ_COUNT(REFUSED)));
    return r->where & GQA ? refuse_those(r, REFUSED_DENSE, MZ_COUNT(REFUSED_DENSE)) : MZ_OK;
}

/* ---- the architecture ---- */

static mz_err read_architecture(reader *r, char *arch, size_t bytes)
{
    const mz_gguf_key *key = mz_gguf_key_find(r->file, "general.architecture");
    const char *text = NULL;
    size_t n = 0;
    uint64_t at = 0;
    if (!key) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "general.architecture: this key is missing");
        mz_note_where(mz_gguf_path(r->file), "general.architecture", -1);
        return err;
    }
    if (key->is_array || !mz_gguf_text_next(key, &at, &text, &n))
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "expected a text");
    static const char *const known[] = {"llama", "qwen2", "qwen3", "deepseek2"};
    for (int i = 0; i < MZ_COUNT(known); i++)
        if (strlen(known[i]) == n && memcmp(known[i], text, n) == 0) {
            snprintf(arch, bytes, "%s", known[i]);
            r->arch = arch;
            const bool mla = i == 3, old = mla && !find(r, "attention.key_length_mla");
            r->where = ALL | (mla ? MLA : GQA) | (old ? OLD : 0);
            return MZ_OK;
        }
    return mz_gguf_bad_key(r->file, key, MZ_ENOTSUP, "expected llama, qwen2, qwen3 or deepseek2");
}

static bool has(const reader *r, const char *tensor)
{
    return mz_gguf_find(r->file, tensor) != NULL;
}

static int64_t get_int(const reader *r, const char *field)
{
    return (int64_t)json_integer_value(json_object_get(r->json, field));
}

/* What deepseek2 says in other words: routing, and the width of a head without its rotated part. */
static mz_err put_deepseek(reader *r)
{
    const mz_gguf_key *gate = find(r, "expert_gating_func");
    const mz_gguf_key *norm = find(r, "expert_weights_norm");
    const mz_gguf_key *next = find(r, "nextn_predict_layers");
    int64_t function = 1, extra = 0;
    bool normalise = false;
    if (gate) MZ_TRY(one_int(r, gate, &function));
    if (gate && function != 1 && function != 2)
        return mz_gguf_bad_key(r->file, gate, MZ_ENOTSUP, "expected 1 (softmax) or 2 (sigmoid)");
    if (norm && !mz_gguf_bool(norm, &normalise))
        return mz_gguf_bad_key(r->file, norm, MZ_ECORRUPT, "not a bool");
    if (function == 1 && normalise)
        return mz_gguf_bad_key(r->file, norm, MZ_ENOTSUP, "normalised weights with softmax");
    const bool sigmoid = function == 2;
    MZ_TRY(put(r, "model_type", json_string(sigmoid ? "deepseek_v3" : "deepseek_v2")));
    MZ_TRY(put(r, "norm_topk_prob", json_boolean(normalise)));
    if (!find(r, "expert_weights_scale")) MZ_TRY(put(r, "routed_scaling_factor", json_real(1.0)));
    const bool grouped = get_int(r, "n_group") > 1;
    MZ_TRY(put(r, "topk_method",
               json_string(sigmoid   ? "noaux_tc"
                           : grouped ? "group_limited_greedy"
                                     : "greedy")));
    if (!find(r, "expert_group_count")) {
        MZ_TRY(put(r, "n_group", json_integer(1)));
        MZ_TRY(put(r, "topk_group", json_integer(1)));
    }
    if (!find(r, "attention.q_lora_rank")) MZ_TRY(put(r, "q_lora_rank", json_null()));
    /* where they make no sense, the checks of the config name the wrong one */
    const int64_t width = get_int(r, "qk_nope_head_dim"), rope = get_int(r, "qk_rope_head_dim");
    const int64_t nope = rope <= 0 ? width : width > rope ? width - rope : 0;
    MZ_TRY(put(r, "qk_nope_head_dim", json_integer(nope)));
    MZ_TRY(put(r, "num_key_value_heads", json_integer(get_int(r, "num_attention_heads"))));
    if (next) MZ_TRY(one_int(r, next, &extra));
    const int64_t layers = get_int(r, "num_hidden_layers");
    if (extra < 0 || (extra > 0 && extra >= layers))
        return mz_gguf_bad_key(r->file, next, MZ_ECORRUPT, "more layers than block_count");
    return put(r, "num_hidden_layers", json_integer(layers - extra));
}

static mz_err bad_width(const reader *r, const mz_gguf_key *key)
{
    return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "is no width of a head");
}

static mz_err put_dense(reader *r)
{
    const mz_gguf_key *rotated = find(r, "rope.dimension_count");
    const mz_gguf_key *value = find(r, "attention.value_length");
    int64_t n = 0;
    const int64_t heads = get_int(r, "num_attention_heads"), width = get_int(r, "hidden_size");
    MZ_TRY(put(r, "model_type", json_string(r->arch)));
    if (!find(r, "attention.key_length") && heads > 0 && width % heads == 0)
        MZ_TRY(put(r, "head_dim", json_integer(width / heads)));
    const int64_t head = get_int(r, "head_dim");
    const mz_gguf_key *key = find(r, "attention.key_length");
    if (key && (head < 1 || head > HEAD_MAX)) return bad_width(r, key);
    if (rotated) MZ_TRY(one_int(r, rotated, &n));
    if (rotated && (n < 1 || n > HEAD_MAX)) return bad_width(r, rotated);
    if (rotated && n != head)
        return mz_gguf_bad_key(r->file, rotated, MZ_ENOTSUP, "heads that are rotated in part");
    if (value) MZ_TRY(one_int(r, value, &n));
    if (value && (n < 1 || n > HEAD_MAX)) return bad_width(r, value);
    if (value && n != head)
        return mz_gguf_bad_key(r->file, value, MZ_ENOTSUP, "values of another width than keys");
    const bool llama = strcmp(r->arch, "llama") == 0;
    if (llama && has(r, "blk.0.attn_q.bias")) MZ_TRY(put(r, "attention_bias", json_true()));
    if (llama && has(r, "blk.0.ffn_gate.bias")) MZ_TRY(put(r, "mlp_bias", json_true()));
    return MZ_OK;
}

/* ---- rope ---- */

static mz_err put_yarn(reader *r, json_t *o, double factor)
{
    static const char *const keys[] = {"rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
                                       "rope.scaling.yarn_log_multiplier",
                                       "rope.scaling.attn_factor"};
    double x[4] = {32.0, 1.0, 0.0, 1.0};
    for (int i = 0; i < 4; i++) {
        const mz_gguf_key *key = find(r, keys[i]);
        if (key) MZ_TRY(one_real(r, key, &x[i]));
    }
    int bad = json_object_set_new(o, "beta_fast", json_real(x[0]));
    bad |= json_object_set_new(o, "beta_slow", json_real(x[1]));
    if (r->where & MLA) {
        /* cosines and sines have no factor; the softmax has (1 + multiplier ln factor)^2 */
        bad |= json_object_set_new(o, "attention_factor", json_real(1.0));
        if (x[2] > 0.0) {
            bad |= json_object_set_new(o, "mscale", json_real(tidy(10.0 * x[2])));
            bad |= json_object_set_new(o, "mscale_all_dim", json_real(tidy(10.0 * x[2])));
        }
    } else if (fabs(x[3] - 1.0) > 0.0) {
        const double usual = factor > 1.0 ? 0.1 * log(factor) + 1.0 : 1.0;
        bad |= json_object_set_new(o, "attention_factor", json_real(tidy(x[3] * usual)));
    }
    return bad ? MZ_FAIL(MZ_ENOMEM, "no memory for a config") : MZ_OK;
}

static mz_err fill_scaling(reader *r, json_t *o, const char *type)
{
    const mz_gguf_key *key = find(r, "rope.scaling.factor");
    double factor = 0.0;
    int64_t original = 0;
    if (!key) return missing(r, "rope.scaling.factor");
    MZ_TRY(one_real(r, key, &factor));
    int bad = json_object_set_new(o, "rope_type", json_string(type));
    bad |= json_object_set_new(o, "factor", json_real(factor));
    if (bad) return MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    if (strcmp(type, "yarn") != 0) return MZ_OK;
    key = find(r, "rope.scaling.original_context_length");
    if (!key) return missing(r, "rope.scaling.original_context_length");
    MZ_TRY(one_int(r, key, &original));
    if (json_object_set_new(o, "original_max_position_embeddings", json_integer(original)) != 0)
        return MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    return put_yarn(r, o, factor);
}

static mz_err put_scaling(reader *r)
{
    const mz_gguf_key *key = find(r, "rope.scaling.type");
    const char *text = "none";
    size_t n = 4;
    uint64_t at = 0;
    if (key && (key->is_array || !mz_gguf_text_next(key, &at, &text, &n)))
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "expected a text");
    static const char *const known[] = {"none", "linear", "yarn"};
    int i = 0;
    while (i < MZ_COUNT(known) && (strlen(known[i]) != n || memcmp(known[i], text, n) != 0)) i++;
    if (i == MZ_COUNT(known))
        return mz_gguf_bad_key(r->file, key, MZ_ENOTSUP, "expected none, linear or yarn");
    if (i == 0) return MZ_OK;
    MZ_TRY(put(r, "rope_scaling", json_object()));
    return fill_scaling(r, json_object_get(r->json, "rope_scaling"), known[i]);
}

/* How far the divisors of a llama3 scaling are from the file's, at most, relative. */
static mz_err llama3_error(const mz_rope_config *plain, const mz_rope_config *scaled,
                           const float *divisors, float *room, double *out)
{
    const int64_t half = plain->dims / 2;
    MZ_TRY(mz_rope_frequencies(plain, room));
    MZ_TRY(mz_rope_frequencies(scaled, room + half));
    double most = 0.0;
    for (int64_t j = 0; j < half; j++) {
        const double want = (double)room[j] / (double)room[half + j];
        const double far = fabs((double)divisors[j] / want - 1.0);
        if (!(far <= most)) most = far;
    }
    *out = most;
    return MZ_OK;
}

/* rope_freqs.weight holds what llama3's scaling divides the frequencies by, and nothing of its
 * settings: the largest divisor is the factor, low and high are 1 and 4 in every model there is,
 * and the original context is the power of two that gives these divisors. */
static mz_err find_llama3(const reader *r, mz_config *c, float *room)
{
    const mz_gguf_tensor *t = mz_gguf_find(r->file, "rope_freqs.weight");
    const int64_t half = c->rope.dims / 2;
    float *divisors = room + 2 * half;
    if (c->family != MZ_FAMILY_LLAMA || c->rope.scaling != MZ_ROPE_DEFAULT)
        return mz_gguf_bad_tensor(r->file, t, MZ_ENOTSUP, "divisors of rope in this network");
    if (t->rank != 1 || t->count != half || t->type != MZ_GGML_F32)
        return mz_gguf_bad_tensor(r->file, t, MZ_ECORRUPT, "expected half a head of F32");
    memcpy(divisors, t->data, (size_t)half * sizeof *divisors);
    mz_rope_config best = c->rope;
    best.scaling = MZ_ROPE_LLAMA3;
    best.low_freq_factor = 1.0, best.high_freq_factor = 4.0, best.factor = 1.0;
    for (int64_t j = 0; j < half; j++) {
        if (!(divisors[j] >= 1.0f && divisors[j] <= 1e6f))
            return mz_gguf_bad_tensor(r->file, t, MZ_ECORRUPT, "a divisor that is not 1 to 10^6");
        if ((double)divisors[j] > best.factor) best.factor = tidy((double)divisors[j]);
    }
    for (int64_t length = 16; length <= 1 << 20; length *= 2) {
        double far = 0.0;
        best.original_max_position = length;
        MZ_TRY(llama3_error(&c->rope, &best, divisors, room, &far));
        if (!(far <= 1e-5)) continue;
        c->rope = best;
        return MZ_OK;
    }
    return mz_gguf_bad_tensor(r->file, t, MZ_ENOTSUP,
                              "divisors that no llama3 scaling with factors 1 and 4 gives");
}

static mz_err read_llama3(const reader *r, mz_config *c)
{
    float *room = NULL;
    if (!has(r, "rope_freqs.weight")) return MZ_OK;
    MZ_TRY(mz_mem_new(&room, c->rope.dims / 2 * 3, sizeof *room));
    const mz_err err = find_llama3(r, c, room);
    mz_mem_free(room);
    return err;
}

/* ---- the vocabulary ---- */

static mz_err check_scores(const reader *r, const mz_gguf_key *key)
{
    double x = 0.0;
    for (uint64_t i = 0; i < key->count; i++)
        if (!mz_gguf_real(key, i, &x) || !isfinite(x))
            return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "a score that is no finite number");
    return MZ_OK;
}

/* Arrays of one length, which is the table's; ids inside it. */
static mz_err put_vocabulary(reader *r)
{
    static const char *const arrays[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                                         "tokenizer.ggml.scores"};
    static const struct {
        const char *key, *field;
    } ids[] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"},
               {"tokenizer.ggml.eos_token_id", "eos_token_id"},
               {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
    const int64_t vocab = get_int(r, "vocab_size");
    for (int i = 0; i < MZ_COUNT(arrays); i++) {
        const mz_gguf_key *key = mz_gguf_key_find(r->file, arrays[i]);
        if (!key) continue;
        if (!key->is_array || key->count != (uint64_t)vocab)
            return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT,
                                   "expected an array as long as the embedding table");
        if (i == 2) MZ_TRY(check_scores(r, key));
    }
    for (int i = 0; i < MZ_COUNT(ids); i++) {
        const mz_gguf_key *key = mz_gguf_key_find(r->file, ids[i].key);
        int64_t id = -1;
        if (key) MZ_TRY(one_int(r, key, &id));
        if (key && (id < 0 || id >= vocab))
            return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "a token past the vocabulary");
        MZ_TRY(put(r, ids[i].field, key ? json_integer(id) : json_null()));
    }
    return MZ_OK;
}

static mz_err put_table(reader *r)
{
    const mz_gguf_tensor *table = mz_gguf_find(r->file, "token_embd.weight");
    if (!table) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "token_embd.weight: this tensor is missing");
        mz_note_where(mz_gguf_path(r->file), "token_embd.weight", -1);
        return err;
    }
    if (!find(r, "vocab_size")) MZ_TRY(put(r, "vocab_size", json_integer(table->dim[0])));
    return put(r, "tie_word_embeddings", json_boolean(!has(r, "output.weight")));
}

/* ---- the whole ---- */

static mz_err put_all(reader *r)
{
    for (int i = 0; i < MZ_COUNT(KEYS); i++) {
        const bool replaced = (r->where & OLD) && mz_str_ends(KEYS[i].key, "_mla");
        if ((KEYS[i].where & r->where) && !replaced) MZ_TRY(put_key(r, i));
    }
    MZ_TRY(refuse_features(r));
    MZ_TRY(put_table(r));
    MZ_TRY(put_vocabulary(r));
    MZ_TRY(r->where & MLA ? put_deepseek(r) : put_dense(r));
    return put_scaling(r);
}

/* A refusal of the config's field becomes one of the key that it came from; whatever a config.json
 * may say and Mizan does not have, a number in a GGUF's header is simply wrong. */
static mz_err name_key(const reader *r, mz_err err)
{
    char field[128], name[KEY_BYTES];
    if (err != MZ_ECONFIG && err != MZ_ECORRUPT) return err;
    mz_err_info info = *mz_err_last();
    snprintf(field, sizeof field, "%s", info.field);
    const char *plain = mz_str_starts(field, "rope_scaling.") ? strchr(field, '.') + 1 : field;
    for (int i = 0; i < MZ_COUNT(KEYS); i++) {
        const mz_gguf_key *key = find(r, KEYS[i].key);
        if (!key || !(KEYS[i].where & r->where) || strcmp(KEYS[i].field, plain) != 0) continue;
        mz_note_where(NULL, full_name(name, r, KEYS[i].key), (int64_t)key->offset);
        info = *mz_err_last();
        break;
    }
    info.code = MZ_ECORRUPT;
    mz_err_restore(&info);
    return MZ_ECORRUPT;
}

/* The tensors must be just those of this network. */
static mz_err check_tensors(const reader *r, const mz_config *c, const mz_gguf *file)
{
    mz_params list = {0};
    if (c->layers > mz_gguf_count(file)) /* or the list alone would be larger than the file */
        return mz_gguf_bad_key(file, find(r, "block_count"), MZ_ECORRUPT,
                               "more layers than the file has tensors");
    MZ_TRY(mz_params_list(&list, c, MZ_F32));
    const mz_err err = mz_gguf_check(&list, c, file);
    mz_params_clear(&list);
    return err;
}

mz_err mz_gguf_to_config(mz_config *c, const mz_gguf *file)
{
    MZ_NEED(c && file, "no file or no place for a config");
    char arch[16];
    reader r = {.file = file};
    mz_config read = {0};
    MZ_TRY(read_architecture(&r, arch, sizeof arch));
    r.json = json_object();
    mz_err err = r.json ? put_all(&r) : MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    if (err == MZ_OK) err = name_key(&r, mz_config_from_json(&read, r.json, mz_gguf_path(file)));
    json_decref(r.json);
    if (err == MZ_OK) err = read_llama3(&r, &read);
    if (err == MZ_OK) {
        read.o_bias = has(&r, "blk.0.attn_output.bias");
        err = check_tensors(&r, &read, file);
    }
    if (err == MZ_OK) *c = read;
    return err;
}
