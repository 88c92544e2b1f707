/* SPDX-License-Identifier: Apache-2.0 */
/* model/config.h - what a Hugging Face config.json says about a network, checked and in one form.
 *
 * Families: llama, qwen2, qwen3, deepseek (MoE-16B), deepseek_v2, deepseek_v3. No code keys on a
 * model's name: a family is a set of the features below. Both the 4.x form of rope settings
 * (rope_theta + rope_scaling) and the 5.x form (rope_parameters) are read.
 *
 * Floor:  model. May use base, tensor, file.
 * Owner:  a mz_config is a plain value.
 * Errors: MZ_ECONFIG with file, field, value and what was expected, for a family, a feature or a
 *         value that Mizan does not have or that is out of range, for one that is missing, and for
 *         values that contradict each other; MZ_ECORRUPT where a field has the wrong JSON type.
 */
#ifndef MZ_MODEL_CONFIG_H
#define MZ_MODEL_CONFIG_H

#include "base/json.h"

#include <stdbool.h>

typedef enum mz_family {
    MZ_FAMILY_LLAMA,
    MZ_FAMILY_QWEN2,
    MZ_FAMILY_QWEN3,
    MZ_FAMILY_DEEPSEEK, /* MoE-16B: llama attention, softmax experts */
    MZ_FAMILY_DEEPSEEK_V2,
    MZ_FAMILY_DEEPSEEK_V3,
    MZ_FAMILY_COUNT
} mz_family;
const char *mz_family_name(mz_family f); /* config.json's model_type */

typedef enum mz_rope_scaling {
    MZ_ROPE_DEFAULT,
    MZ_ROPE_LINEAR,
    MZ_ROPE_YARN,
    MZ_ROPE_LLAMA3
} mz_rope_scaling;

typedef struct mz_rope_config {
    mz_rope_scaling scaling;
    bool interleaved; /* pairs (2j, 2j+1) instead of (j, j + dims/2) */
    int64_t dims;     /* rotated columns of a head: head_dim, or qk_rope_head_dim */
    double theta, factor;
    int64_t original_max_position;            /* yarn, llama3 */
    double beta_fast, beta_slow;              /* yarn; 32 and 1 where absent */
    double mscale;                            /* yarn; 0 where absent */
    double mscale_all_dim;                    /* 0 where absent, or without scaling */
    double attention_factor;                  /* yarn; 0 where absent */
    bool truncate;                            /* yarn; true where absent */
    double low_freq_factor, high_freq_factor; /* llama3 */
} mz_rope_config;

typedef struct mz_moe_config {
    int64_t experts;             /* E, 0 = a dense model */
    int64_t shared;              /* n_shared_experts, one MLP of width shared * width */
    int64_t top_k, width;        /* k and F of an expert */
    int64_t groups, groups_kept; /* 1 and 1 = none */
    int64_t first_dense;         /* layers below it have the dense MLP */
    int64_t layer_freq;          /* 1 = every layer from first_dense on */
    bool sigmoid;                /* else softmax */
    bool group_top2;             /* group value: sum of its two largest, else its largest */
    bool selection_bias;         /* e_score_correction_bias */
    bool normalise;              /* norm_topk_prob */
    double factor;               /* routed_scaling_factor */
    double aux_alpha;            /* of the sequence-wise balance loss; 0 = none */
} mz_moe_config;

/* Adapters beside linear maps (model/lora.h); of a run, not of a config.json. */
typedef struct mz_lora_config {
    int64_t rank;       /* 0: none */
    double scale;       /* alpha / rank */
    char targets[1024]; /* "q_proj,v_proj"; "": every linear map of a block */
} mz_lora_config;

typedef struct mz_config {
    mz_family family;
    char architecture[64];
    int64_t vocab, width, mlp_width, layers; /* V, D, F, L */
    int64_t part_first, part_end; /* the layers of one rank of a pipeline, see model/part.h; end 0:
                                     all of them. Never in a file. */
    int64_t heads, kv_heads, head_dim; /* H, G, K; without MLA also the value width */
    int64_t max_position;
    double rms_eps;
    double inner_eps; /* of q_a_layernorm and kv_a_layernorm: 1e-6 whatever rms_eps is, as
                         transformers has it */
    double init_std;
    bool tied, qkv_bias, o_bias, mlp_bias, qk_norm;
    mz_rope_config rope;
    /* multi-head latent attention (DeepSeek-V2 report 2.1) */
    bool mla;
    int64_t q_rank, kv_rank;           /* q_rank 0 = q_proj without query LoRA */
    int64_t nope_dim, rope_dim, v_dim; /* columns of a head; head_dim = nope + rope */
    double scale;                      /* of the softmax, yarn's mscale^2 included */
    mz_moe_config moe;
    int64_t mtp_layers;    /* num_nextn_predict_layers; the loader sets it to 0 where the checkpoint
                              carries no such weights */
    int64_t bos, eos, pad; /* -1 = none; eos is the first where there are several */
    mz_lora_config lora;
} mz_config;

/* Whether layer i (0 .. layers + mtp_layers - 1) has experts. */
bool mz_config_layer_is_moe(const mz_config *c, int64_t i);

/* The layers from first to the one before end that a model of this config has: all, or its part's.
 */
int64_t mz_config_first(const mz_config *c);
int64_t mz_config_end(const mz_config *c);
bool mz_config_has_embed(const mz_config *c);     /* the first part does */
bool mz_config_borrows_embed(const mz_config *c); /* the last part may, see model/part.h */
bool mz_config_has_head(const mz_config *c);      /* the last part does, with the final norm */
/* Whether the parameter of that name belongs to this part. */
bool mz_config_has_param(const mz_config *c, const char *name);

/* name: of the file, for messages. */
mz_err mz_config_from_json(mz_config *out, const json_t *json, const char *name);
mz_err mz_config_read(mz_config *out, const char *path);
/* The other way: the 4.x form, which 4.x and 5.x of transformers both read. New reference. */
mz_err mz_config_to_json(json_t **out, const mz_config *c);

/* cos, sin [positions, dims/2] F32, as transformers makes them: inverse frequencies and their
 * product with the position are rounded to f32 before the cosine, and scaled by yarn's attention
 * factor. */
mz_err mz_rope_tables(const mz_rope_config *r, int64_t positions, float *cos_out, float *sin_out);
/* What those tables are made of: out [dims/2], the inverse frequencies after scaling, and the
 * factor on cosines and sines (1 without yarn). */
mz_err mz_rope_frequencies(const mz_rope_config *r, float *out);
double mz_rope_attention_factor(const mz_rope_config *r);

#endif
