/* SPDX-License-Identifier: Apache-2.0 */
/* model/config.c - config.json into a mz_config: defaults as transformers has them, every value
 * checked, and a refusal for whatever Mizan would compute otherwise than the model means it.
 *
 * Fields that change nothing in the numbers (use_cache, attention_dropout, pretraining_tp ...) are
 * not read. Defaults are those of transformers' configuration classes; the sizes that make a
 * network (widths, layers, heads, vocabulary) must be there.
 * Floor:  model.
 * Errors: MZ_ECONFIG with file, field, value and what was expected; MZ_ECORRUPT for a JSON type. */
#include "model/config.h"

#include "base/log.h"
#include "base/str.h"
#include "model/rope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };
static const int64_t LAYERS_MAX = 4096, HEADS_MAX = 65536, WIDTH_MAX = 1 << 22, EXPERTS_MAX = 65536;

static const struct {
    const char *name, *architecture;
    int64_t head_dim;     /* where the file has none; 0 = hidden_size / heads */
    int64_t max_position; /* likewise */
    int64_t bos, eos;
    bool mla, experts;
} FAMILY[MZ_FAMILY_COUNT] = {
    [MZ_FAMILY_LLAMA] = {"llama", "LlamaForCausalLM", 0, 2048, 1, 2, false, false},
    [MZ_FAMILY_QWEN2] = {"qwen2", "Qwen2ForCausalLM", 0, 32768, -1, -1, false, false},
    [MZ_FAMILY_QWEN3] = {"qwen3", "Qwen3ForCausalLM", 128, 32768, -1, -1, false, false},
    [MZ_FAMILY_DEEPSEEK] = {"deepseek", "DeepseekForCausalLM", 0, 2048, 100000, 100001, false,
                            true},
    [MZ_FAMILY_DEEPSEEK_V2] = {"deepseek_v2", "DeepseekV2ForCausalLM", 0, 2048, 1, 2, true, true},
    [MZ_FAMILY_DEEPSEEK_V3] = {"deepseek_v3", "DeepseekV3ForCausalLM", 0, 4096, 0, 1, true, true},
};

/* Families that have a room in the plan but no code yet. */
static const char *const LATER[] = {"deepseek_v32", "deepseek_v4", "deepseek_v41"};

const char *mz_family_name(mz_family f)
{
    return f >= 0 && f < MZ_FAMILY_COUNT ? FAMILY[f].name : "?";
}

bool mz_config_layer_is_moe(const mz_config *c, int64_t i)
{
    return c->moe.experts > 0 && i >= c->moe.first_dense && i % c->moe.layer_freq == 0;
}

static mz_err read_family(mz_config *c, const mz_fields *f)
{
    const char *name = NULL, *architecture = NULL;
    MZ_TRY(mz_field_text(f, "model_type", NULL, &name));
    int family = 0;
    while (family < MZ_FAMILY_COUNT && strcmp(FAMILY[family].name, name) != 0) family++;
    if (family == MZ_FAMILY_COUNT) {
        for (int i = 0; i < MZ_COUNT(LATER); i++)
            if (strcmp(LATER[i], name) == 0)
                return mz_field_refuse(f, "model_type", MZ_ECONFIG,
                                       "a family that is built in; this one is planned, not yet "
                                       "there");
        return mz_field_refuse(f, "model_type", MZ_ECONFIG,
                               "llama, qwen2, qwen3, deepseek, deepseek_v2 or deepseek_v3");
    }
    c->family = (mz_family)family;
    architecture = FAMILY[family].architecture;
    const json_t *list = json_object_get(f->object, "architectures");
    if (list && !json_is_null(list) && !json_is_array(list))
        return mz_field_refuse(f, "architectures", MZ_ECORRUPT, "a list of names");
    const json_t *first = json_array_get(list, 0);
    if (first && (!json_is_string(first) || strcmp(json_string_value(first), architecture) != 0))
        return mz_field_refuse(f, "architectures", MZ_ECONFIG, "%s for model_type %s", architecture,
                               name);
    snprintf(c->architecture, sizeof c->architecture, "%s", architecture);
    return MZ_OK;
}

/* Blocks of E4M3 with a scale each are read (port/hf), and no other way of quantising. */
static mz_err check_quantization(const mz_fields *f)
{
    const json_t *object = NULL;
    MZ_TRY(mz_field_object(f, "quantization_config", &object));
    if (!object) return MZ_OK;
    const mz_fields in = {object, f->file, "quantization_config."};
    const char *method = NULL, *format = NULL;
    MZ_TRY(mz_field_text(&in, "quant_method", "", &method));
    MZ_TRY(mz_field_text(&in, "fmt", "e4m3", &format));
    if (strcmp(method, "fp8") != 0)
        return mz_field_refuse(&in, "quant_method", MZ_ECONFIG,
                               "fp8 (other quantised weights are not read: dequantise them first)");
    if (strcmp(format, "e4m3") != 0) return mz_field_refuse(&in, "fmt", MZ_ECONFIG, "e4m3");
    const json_t *block = json_object_get(object, "weight_block_size");
    for (size_t i = 0; i < 2; i++) {
        const json_t *size = json_array_get(block, i);
        if (json_array_size(block) != 2 || !json_is_integer(size) || json_integer_value(size) < 1 ||
            json_integer_value(size) > WIDTH_MAX)
            return mz_field_refuse(&in, "weight_block_size", MZ_ECONFIG, "two sizes of a block");
    }
    return MZ_OK;
}

/* Whatever would change the numbers and is not here. */
static mz_err refuse_features(const mz_config *c, const mz_fields *f)
{
    const char *act = NULL;
    MZ_TRY(mz_field_text(f, "hidden_act", "silu", &act));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return mz_field_refuse(f, "hidden_act", MZ_ECONFIG, "silu");
    MZ_TRY(check_quantization(f));
    const json_t *types = json_object_get(f->object, "layer_types");
    if (types && !json_is_null(types) && !json_is_array(types))
        return mz_field_refuse(f, "layer_types", MZ_ECORRUPT, "a list of names");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type || strcmp(type, "full_attention") != 0)
            return mz_field_refuse(f, "layer_types", MZ_ECONFIG, "full_attention in every layer");
    }
    if (json_array_size(types) > 0 && (int64_t)json_array_size(types) != c->layers)
        return mz_field_refuse(f, "layer_types", MZ_ECONFIG, "%lld names, one a layer",
                               (long long)c->layers);
    if (json_is_array(types) || (c->family != MZ_FAMILY_QWEN2 && c->family != MZ_FAMILY_QWEN3))
        return MZ_OK;
    bool sliding = false;
    int64_t window = 0, first = 0;
    MZ_TRY(mz_field_bool(f, "use_sliding_window", false, &sliding));
    MZ_TRY(mz_field_int(f, "sliding_window", 0, 0, INT32_MAX, &window));
    MZ_TRY(mz_field_int(f, "max_window_layers", 28, 0, INT32_MAX, &first));
    if (sliding && window > 0 && first < c->layers)
        return mz_field_refuse(f, "use_sliding_window", MZ_ECONFIG,
                               "false (layers from max_window_layers on would use a window)");
    return MZ_OK;
}

static mz_err read_token(const mz_fields *f, const char *key, int64_t absent, int64_t *out)
{
    const json_t *value = json_object_get(f->object, key);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    else if (!value) {
        *out = absent;
        return MZ_OK;
    }
    *out = -1;
    if (!value || json_is_null(value)) return MZ_OK;
    if (!json_is_integer(value)) return mz_field_refuse(f, key, MZ_ECORRUPT, "an id");
    const int64_t id = (int64_t)json_integer_value(value);
    if (id < -1 || id > INT32_MAX) return mz_field_refuse(f, key, MZ_ECONFIG, "an id");
    *out = id; /* may be past the vocabulary: such files exist, and it then simply never comes */
    return MZ_OK;
}

static mz_err read_sizes(mz_config *c, const mz_fields *f)
{
    MZ_TRY(mz_field_int(f, "vocab_size", MZ_REQUIRED, 1, INT32_MAX, &c->vocab));
    MZ_TRY(mz_field_int(f, "hidden_size", MZ_REQUIRED, 1, WIDTH_MAX, &c->width));
    MZ_TRY(mz_field_int(f, "intermediate_size", MZ_REQUIRED, 1, WIDTH_MAX, &c->mlp_width));
    MZ_TRY(mz_field_int(f, "num_hidden_layers", MZ_REQUIRED, 1, LAYERS_MAX, &c->layers));
    MZ_TRY(mz_field_int(f, "num_attention_heads", MZ_REQUIRED, 1, HEADS_MAX, &c->heads));
    MZ_TRY(mz_field_int(f, "num_key_value_heads", c->heads, 1, HEADS_MAX, &c->kv_heads));
    if (c->kv_heads > c->heads || c->heads % c->kv_heads != 0)
        return mz_field_refuse(f, "num_key_value_heads", MZ_ECONFIG,
                               "a divisor of num_attention_heads, %lld", (long long)c->heads);
    MZ_TRY(mz_field_int(f, "max_position_embeddings", FAMILY[c->family].max_position, 1, INT32_MAX,
                        &c->max_position));
    MZ_TRY(mz_field_real(f, "rms_norm_eps", 1e-6, 0.0, 1.0, &c->rms_eps));
    if (!(c->rms_eps > 0.0)) return mz_field_refuse(f, "rms_norm_eps", MZ_ECONFIG, "more than 0");
    c->inner_eps = 1e-6;
    MZ_TRY(mz_field_real(f, "initializer_range", 0.02, 0.0, 1.0, &c->init_std));
    MZ_TRY(mz_field_bool(f, "tie_word_embeddings", false, &c->tied));
    MZ_TRY(read_token(f, "bos_token_id", FAMILY[c->family].bos, &c->bos));
    MZ_TRY(read_token(f, "eos_token_id", FAMILY[c->family].eos, &c->eos));
    return read_token(f, "pad_token_id", -1, &c->pad);
}

static mz_err read_biases(mz_config *c, const mz_fields *f)
{
    bool attention = false, mlp = false;
    MZ_TRY(mz_field_bool(f, "attention_bias", false, &attention));
    MZ_TRY(mz_field_bool(f, "mlp_bias", false, &mlp));
    const bool has_mlp_bias = c->family == MZ_FAMILY_LLAMA || c->family == MZ_FAMILY_DEEPSEEK_V2;
    c->qkv_bias = c->family == MZ_FAMILY_QWEN2 || attention;
    c->o_bias = c->family != MZ_FAMILY_QWEN2 && attention;
    c->mlp_bias = has_mlp_bias && mlp;
    c->qk_norm = c->family == MZ_FAMILY_QWEN3;
    return MZ_OK;
}

static mz_err read_heads(mz_config *c, const mz_fields *f)
{
    const int64_t usual = FAMILY[c->family].head_dim;
    if (usual == 0 && !mz_field_is_set(f, "head_dim") && c->width % c->heads != 0)
        return mz_field_refuse(f, "num_attention_heads", MZ_ECONFIG,
                               "a divisor of hidden_size, %lld, where head_dim is not given",
                               (long long)c->width);
    MZ_TRY(
        mz_field_int(f, "head_dim", usual ? usual : c->width / c->heads, 1, 65536, &c->head_dim));
    if (c->head_dim % 2 != 0)
        return mz_field_refuse(
            f, mz_field_is_set(f, "head_dim") ? "head_dim" : "num_attention_heads", MZ_ECONFIG,
            "an even head width for rope, not %lld", (long long)c->head_dim);
    c->scale = 1.0 / sqrt((double)c->head_dim);
    return mz_rope_from_json(&c->rope, f, c->head_dim, c->max_position);
}

static mz_err read_mla(mz_config *c, const mz_fields *f)
{
    if (c->kv_heads != c->heads)
        return mz_field_refuse(f, "num_key_value_heads", MZ_ECONFIG,
                               "num_attention_heads, %lld, with latent attention",
                               (long long)c->heads);
    const json_t *rank = json_object_get(f->object, "q_lora_rank");
    const bool no_rank = rank && json_is_null(rank);
    MZ_TRY(mz_field_int(f, "q_lora_rank", no_rank ? 0 : 1536, 1, WIDTH_MAX, &c->q_rank));
    MZ_TRY(mz_field_int(f, "kv_lora_rank", 512, 1, WIDTH_MAX, &c->kv_rank));
    MZ_TRY(mz_field_int(f, "qk_nope_head_dim", 128, 1, 65536, &c->nope_dim));
    MZ_TRY(mz_field_int(f, "qk_rope_head_dim", 64, 2, 65536, &c->rope_dim));
    MZ_TRY(mz_field_int(f, "v_head_dim", 128, 1, 65536, &c->v_dim));
    if (c->rope_dim % 2 != 0)
        return mz_field_refuse(f, "qk_rope_head_dim", MZ_ECONFIG, "an even width");
    c->head_dim = c->nope_dim + c->rope_dim;
    c->rope.interleaved = true;
    if (c->family == MZ_FAMILY_DEEPSEEK_V3)
        MZ_TRY(mz_field_bool(f, "rope_interleave", true, &c->rope.interleaved));
    MZ_TRY(mz_rope_from_json(&c->rope, f, c->rope_dim, c->max_position));
    c->scale = 1.0 / sqrt((double)c->head_dim);
    if (c->rope.mscale_all_dim > 0.0) { /* whatever the scaling is, as transformers has it */
        const double m = mz_rope_mscale(c->rope.factor, c->rope.mscale_all_dim);
        c->scale *= m * m;
    }
    return MZ_OK;
}

static mz_err want_text(const mz_fields *f, const char *key, const char *want)
{
    const char *text = NULL;
    MZ_TRY(mz_field_text(f, key, want, &text));
    return strcmp(text, want) == 0 ? MZ_OK : mz_field_refuse(f, key, MZ_ECONFIG, "%s", want);
}

static mz_err read_groups(mz_config *c, const mz_fields *f)
{
    mz_moe_config *m = &c->moe;
    const bool v3 = c->family == MZ_FAMILY_DEEPSEEK_V3;
    MZ_TRY(mz_field_int(f, "n_group", v3 ? 8 : MZ_REQUIRED, 1, EXPERTS_MAX, &m->groups));
    MZ_TRY(mz_field_int(f, "topk_group", v3 ? 4 : MZ_REQUIRED, 1, EXPERTS_MAX, &m->groups_kept));
    if (m->experts % m->groups != 0)
        return mz_field_refuse(f, "n_group", MZ_ECONFIG, "a divisor of n_routed_experts, %lld",
                               (long long)m->experts);
    if (m->groups_kept > m->groups)
        return mz_field_refuse(f, "topk_group", MZ_ECONFIG, "at most n_group, %lld",
                               (long long)m->groups);
    if (m->group_top2 && m->experts / m->groups < 2)
        return mz_field_refuse(f, "n_group", MZ_ECONFIG,
                               "groups of two experts or more (their two best are summed)");
    return MZ_OK;
}

/* How the router of each family chooses and weighs. */
static mz_err read_routing(mz_config *c, const mz_fields *f)
{
    mz_moe_config *m = &c->moe;
    m->groups = m->groups_kept = 1;
    m->factor = 1.0;
    const bool v3 = c->family == MZ_FAMILY_DEEPSEEK_V3, v2 = c->family == MZ_FAMILY_DEEPSEEK_V2;
    MZ_TRY(want_text(f, "scoring_func", v3 ? "sigmoid" : "softmax"));
    MZ_TRY(mz_field_bool(f, "norm_topk_prob", v3, &m->normalise));
    /* DeepSeek's own code leaves the share of a lone expert as it is */
    if (c->family == MZ_FAMILY_DEEPSEEK && m->top_k == 1) m->normalise = false;
    if (v2 && m->normalise) {
        /* transformers has the field in this family and does not use it */
        mz_log(MZ_LOG_WARN, "%s: norm_topk_prob has no effect in deepseek_v2", f->file);
        m->normalise = false;
    }
    if (v2 || v3)
        MZ_TRY(mz_field_real(f, "routed_scaling_factor", v3 ? 2.5 : 1.0, 1e-6, 1e6, &m->factor));
    if (v3) {
        m->sigmoid = m->group_top2 = m->selection_bias = true;
        MZ_TRY(want_text(f, "topk_method", "noaux_tc"));
        return read_groups(c, f);
    }
    const char *method = NULL;
    MZ_TRY(mz_field_text(f, "topk_method", "greedy", &method));
    if (strcmp(method, "greedy") == 0) return MZ_OK;
    if (!v2 || strcmp(method, "group_limited_greedy") != 0)
        return mz_field_refuse(f, "topk_method", MZ_ECONFIG, "%s",
                               v2 ? "greedy or group_limited_greedy" : "greedy");
    return read_groups(c, f);
}

static mz_err read_moe(mz_config *c, const mz_fields *f)
{
    mz_moe_config *m = &c->moe;
    const bool optional = c->family == MZ_FAMILY_DEEPSEEK;
    m->layer_freq = 1;
    MZ_TRY(mz_field_int(f, "n_routed_experts", optional ? 0 : MZ_REQUIRED, 1, EXPERTS_MAX,
                        &m->experts));
    if (m->experts == 0) return MZ_OK;
    const bool v3 = c->family == MZ_FAMILY_DEEPSEEK_V3;
    MZ_TRY(mz_field_int(f, "n_shared_experts", optional ? 0 : (v3 ? 1 : 2), 0, 4096, &m->shared));
    MZ_TRY(mz_field_int(f, "num_experts_per_tok", v3 ? 8 : MZ_REQUIRED, 1, EXPERTS_MAX, &m->top_k));
    MZ_TRY(mz_field_int(f, "moe_intermediate_size", MZ_REQUIRED, 1, WIDTH_MAX, &m->width));
    MZ_TRY(mz_field_int(f, "first_k_dense_replace", v3 ? 3 : 0, 0, LAYERS_MAX, &m->first_dense));
    MZ_TRY(mz_field_int(f, "moe_layer_freq", 1, 1, LAYERS_MAX, &m->layer_freq));
    MZ_TRY(read_routing(c, f));
    const int64_t room = m->experts / m->groups * m->groups_kept;
    if (m->top_k > room)
        return mz_field_refuse(f, "num_experts_per_tok", MZ_ECONFIG,
                               "at most the %lld experts that may be chosen", (long long)room);
    bool by_sequence = true;
    MZ_TRY(mz_field_real(f, "aux_loss_alpha", 0.0, 0.0, 1e3, &m->aux_alpha));
    MZ_TRY(mz_field_bool(f, "seq_aux", true, &by_sequence));
    if (!by_sequence) m->aux_alpha = 0.0; /* the batch-wise form is not trained here */
    return MZ_OK;
}

static mz_err check_totals(const mz_config *c, const mz_fields *f)
{
    /* Every factor is bounded above, so these products fit 64 bits. */
    const double limit = 1e15;
    const double heads = (double)c->heads * (double)c->head_dim * (double)c->width;
    const double experts = (double)c->moe.experts * (double)c->moe.width * (double)c->width;
    if (!(heads < limit))
        return mz_field_refuse(f, "num_attention_heads", MZ_ECONFIG, "a network that can exist");
    if (!(experts < limit))
        return mz_field_refuse(f, "n_routed_experts", MZ_ECONFIG, "a network that can exist");
    return MZ_OK;
}

mz_err mz_config_from_json(mz_config *out, const json_t *json, const char *name)
{
    MZ_NEED(out && name, "no place for a config");
    const mz_fields f = {json, name, ""};
    if (!json_is_object(json)) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "a config must be a JSON object");
        mz_note_where(name, "", 0);
        return err;
    }
    mz_config c = {0};
    MZ_TRY(read_family(&c, &f));
    c.mla = FAMILY[c.family].mla;
    MZ_TRY(read_sizes(&c, &f));
    MZ_TRY(refuse_features(&c, &f));
    MZ_TRY(read_biases(&c, &f));
    MZ_TRY(c.mla ? read_mla(&c, &f) : read_heads(&c, &f));
    c.moe.layer_freq = 1;
    if (FAMILY[c.family].experts) MZ_TRY(read_moe(&c, &f));
    if (c.family == MZ_FAMILY_DEEPSEEK_V3)
        MZ_TRY(mz_field_int(&f, "num_nextn_predict_layers", 0, 0, 64, &c.mtp_layers));
    MZ_TRY(check_totals(&c, &f));
    *out = c;
    return MZ_OK;
}

mz_err mz_config_read(mz_config *out, const char *path)
{
    json_t *json = NULL;
    MZ_TRY(mz_json_read(&json, path, CONFIG_BYTES_MAX));
    const mz_err err = mz_config_from_json(out, json, path);
    json_decref(json);
    return err;
}

/* ---- the other way ---- */

static int put_int(json_t *o, const char *key, int64_t x)
{
    return json_object_set_new(o, key, json_integer(x));
}

static int put_id(json_t *o, const char *key, int64_t id)
{
    return json_object_set_new(o, key, id < 0 ? json_null() : json_integer(id));
}

static int put_bool(json_t *o, const char *key, bool x)
{
    return json_object_set_new(o, key, json_boolean(x));
}

static int put_mla(json_t *o, const mz_config *c)
{
    int bad = put_id(o, "q_lora_rank", c->q_rank > 0 ? c->q_rank : -1);
    bad |= put_int(o, "kv_lora_rank", c->kv_rank) | put_int(o, "qk_nope_head_dim", c->nope_dim);
    bad |= put_int(o, "qk_rope_head_dim", c->rope_dim) | put_int(o, "v_head_dim", c->v_dim);
    if (c->family == MZ_FAMILY_DEEPSEEK_V3)
        bad |= put_bool(o, "rope_interleave", c->rope.interleaved) |
               put_int(o, "num_nextn_predict_layers", c->mtp_layers);
    return bad;
}

static int put_moe(json_t *o, const mz_config *c)
{
    const mz_moe_config *m = &c->moe;
    const bool v3 = c->family == MZ_FAMILY_DEEPSEEK_V3;
    int bad = put_int(o, "n_routed_experts", m->experts) |
              put_int(o, "n_shared_experts", m->shared) |
              put_int(o, "num_experts_per_tok", m->top_k) |
              put_int(o, "moe_intermediate_size", m->width) |
              put_int(o, "first_k_dense_replace", m->first_dense) |
              put_int(o, "moe_layer_freq", m->layer_freq) |
              put_bool(o, "norm_topk_prob", m->normalise) | put_bool(o, "seq_aux", true);
    const char *method = v3 ? "noaux_tc" : (m->groups > 1 ? "group_limited_greedy" : "greedy");
    bad |= json_object_set_new(o, "topk_method", json_string(method));
    bad |= json_object_set_new(o, "scoring_func", json_string(m->sigmoid ? "sigmoid" : "softmax"));
    bad |= json_object_set_new(o, "aux_loss_alpha", json_real(m->aux_alpha));
    if (c->family == MZ_FAMILY_DEEPSEEK) return bad;
    bad |= json_object_set_new(o, "routed_scaling_factor", json_real(m->factor));
    return bad | put_int(o, "n_group", m->groups) | put_int(o, "topk_group", m->groups_kept);
}

static int put_common(json_t *o, const mz_config *c)
{
    int bad = json_object_set_new(o, "architectures", json_pack("[s]", c->architecture));
    bad |= json_object_set_new(o, "model_type", json_string(mz_family_name(c->family)));
    bad |= put_int(o, "vocab_size", c->vocab) | put_int(o, "hidden_size", c->width) |
           put_int(o, "intermediate_size", c->mlp_width) |
           put_int(o, "num_hidden_layers", c->layers) |
           put_int(o, "num_attention_heads", c->heads) |
           put_int(o, "num_key_value_heads", c->kv_heads) |
           put_int(o, "max_position_embeddings", c->max_position);
    bad |= json_object_set_new(o, "hidden_act", json_string("silu"));
    bad |= json_object_set_new(o, "rms_norm_eps", json_real(c->rms_eps));
    bad |= json_object_set_new(o, "initializer_range", json_real(c->init_std));
    bad |= json_object_set_new(o, "attention_dropout", json_real(0.0));
    bad |= put_bool(o, "tie_word_embeddings", c->tied) | put_bool(o, "use_cache", true);
    if (c->family != MZ_FAMILY_QWEN2) bad |= put_bool(o, "attention_bias", c->o_bias);
    if (c->family == MZ_FAMILY_LLAMA || c->family == MZ_FAMILY_DEEPSEEK_V2)
        bad |= put_bool(o, "mlp_bias", c->mlp_bias);
    if (!c->mla) bad |= put_int(o, "head_dim", c->head_dim);
    return bad | put_id(o, "bos_token_id", c->bos) | put_id(o, "eos_token_id", c->eos) |
           put_id(o, "pad_token_id", c->pad);
}

mz_err mz_config_to_json(json_t **out, const mz_config *c)
{
    MZ_NEED(out && c, "no config or no place for its JSON");
    json_t *o = json_object();
    int bad = o ? put_common(o, c) : 1;
    if (!bad && c->mla) bad = put_mla(o, c);
    if (!bad && c->moe.experts > 0) bad = put_moe(o, c);
    mz_err err = bad ? MZ_FAIL(MZ_ENOMEM, "no memory for a config") : MZ_OK;
    if (err == MZ_OK) err = mz_rope_to_json(o, &c->rope);
    if (err != MZ_OK) {
        json_decref(o);
        return err;
    }
    *out = o;
    return MZ_OK;
}
