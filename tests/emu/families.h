/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/families.h - two small networks that are trained on emulated chips, and the files of
 * such a training. */
#ifndef MZ_TESTS_EMU_FAMILIES_H
#define MZ_TESTS_EMU_FAMILIES_H

#include "base/file.h"
#include "tests/e2e/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FAMILY_SHAPE(layers)                                                                       \
    "\"hidden_size\":32,\"intermediate_size\":64,\"vocab_size\":272,\"num_hidden_layers\":" layers \
    ",\"num_attention_heads\":4,\"max_position_embeddings\":64,\"initializer_range\":0.15,"        \
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"tie_word_embeddings\":false,"                    \
    "\"hidden_act\":\"silu\",\"bos_token_id\":null,\"eos_token_id\":null"

/* layers: as text; more: fields of deepseek_v3, each behind its comma */
#define FAMILY_LIST(layers, more)                                                                  \
    {                                                                                              \
        {"deepseek_v3",                                                                            \
         "{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"]"           \
         "," FAMILY_SHAPE(                                                                         \
             layers) ",\"num_key_value_heads\":4,\"kv_lora_rank\":16,\"q_lora_rank\":null,"        \
                     "\"qk_nope_head_dim\":8,\"qk_rope_head_dim\":4,\"v_head_dim\":8,\"n_routed_"  \
                     "experts\":8,"                                                                \
                     "\"num_experts_per_tok\":2,\"n_group\":2,\"topk_group\":1,\"n_shared_"        \
                     "experts\":1,"                                                                \
                     "\"moe_intermediate_size\":16,\"first_k_dense_replace\":1,"                   \
                     "\"scoring_func\":\"sigmoid\",\"topk_method\":\"noaux_tc\",\"norm_topk_"      \
                     "prob\":true,"                                                                \
                     "\"routed_scaling_factor\":1.0" more "}"},                                    \
            {"qwen2",                                                                              \
             "{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForCausalLM\"]," FAMILY_SHAPE(   \
                 layers) ",\"num_key_value_heads\":2}"},                                           \
    }

typedef struct small_family {
    const char *name, *network; /* the network as config.json has it */
} small_family;

static const char *put_file(const char *name, const char *text)
{
    const char *path = program_path(name);
    assert_int_equal(mz_file_write(path, text, strlen(text)), MZ_OK);
    return path;
}

/* NAME.json and NAME.yaml of a family: its training on rows.jsonl. */
static void put_family(const small_family *f, int seq, int steps, int samples)
{
    char name[64], text[2048];
    (void)snprintf(name, sizeof name, "%s.json", f->name);
    const char *network = put_file(name, f->network);
    (void)snprintf(text, sizeof text,
                   "model.config: %s\ndata: {path: %s, seq: %d}\noptim.lr: 0.003\n"
                   "run: {dir: none, steps: %d, checkpoint_every: 0, tensorboard: false}\n"
                   "batch: {global: %d, micro: 2}\n",
                   network, program_path("rows.jsonl"), seq, steps, samples);
    (void)snprintf(name, sizeof name, "%s.yaml", f->name);
    (void)put_file(name, text);
}

/* The emulated driver's folder; ends the test as skipped where nobody names it. */
static const char *driver_folder(void)
{
    const char *folder = getenv("MIZAN_EMU_ASCEND_FOLDER");
    if (folder) return folder;
    print_message("MIZAN_EMU_ASCEND_FOLDER names no emulated driver: skipped\n");
    exit(77);
}

#endif
