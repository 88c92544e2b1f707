/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/small.c - see small.h. */
#include "tests/e2e/small.h"

#include "base/file.h"
#include "chips/cpu/cpu.h"
#include "port/hf.h"
#include "tests/e2e/program.h"
#include "tests/text_tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START "<|im_start|>"
#define END "<|im_end|>"
#define TEXT_END "<|endoftext|>"

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

static const char *in_folder(const char *folder, const char *name)
{
    char both[256];
    (void)snprintf(both, sizeof both, "%s/%s", folder, name);
    return program_path(both);
}

const char *small_file(const char *name, const char *text)
{
    const char *path = program_path(name);
    ok(mz_file_write(path, text, strlen(text)));
    return path;
}

static void write_in(const char *folder, const char *name, const char *text)
{
    ok(mz_file_write(in_folder(folder, name), text, strlen(text)));
}

static void write_tokenizer(const char *folder)
{
    static mzt_tiny t;
    mz_str s = {0};
    mzt_tiny_init(&t);
    const int th = mzt_tiny_join(&t, 't', 'h'), the = mzt_tiny_join(&t, th, 'e');
    (void)mzt_tiny_join(&t, 'i', 'n'), (void)mzt_tiny_join(&t, 'e', 'r');
    assert_int_equal(mzt_tiny_join(&t, ' ', the), SMALL_START - 1);
    mzt_tiny_json(&t,
                  "[{\"id\":261,\"content\":\"" START "\",\"special\":true},"
                  "{\"id\":262,\"content\":\"" END "\",\"special\":true},"
                  "{\"id\":263,\"content\":\"" TEXT_END "\",\"special\":true}]",
                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}", &s);
    write_in(folder, "tokenizer.json", s.text);
    mz_str_clear(&s);
    write_in(folder, "tokenizer_config.json",
             "{\"bos_token\": null, \"eos_token\": \"" END "\", \"pad_token\": \"" TEXT_END
             "\", \"add_bos_token\": false, \"model_max_length\": 256,\n"
             "\"chat_template\": \"{% for message in messages %}{{'" START
             "' + message['role'] + '\\n' + message['content'] + '" END
             "' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '" START
             "assistant\\n' }}{% endif %}\"}\n");
    write_in(folder, "generation_config.json",
             "{\"eos_token_id\": [262, 263], \"pad_token_id\": 263}\n");
}

static void write_weights(const char *folder, const char *fields)
{
    mz_device *device = NULL;
    mz_queue *q = NULL;
    mz_params p = {0};
    mz_config c;
    json_t *json = NULL;
    ok(mz_json_parse(&json, fields, strlen(fields), "small"));
    ok(mz_config_from_json(&c, json, "small"));
    ok(mz_device_open(&device, "cpu", NULL));
    ok(mz_queue_open(&q, device));
    ok(mz_params_list(&p, &c, MZ_F32));
    ok(mz_params_alloc(&p, device, false));
    ok(mz_params_init(&p, NULL, q, &c, 7));
    ok(mz_hf_save(&p, q, &c, program_path(folder), MZ_BF16));
    mz_params_clear(&p);
    mz_queue_close(q);
    mz_device_close(device);
    json_decref(json);
}

void small_model(const char *name, const char *family)
{
    static const char latent[] =
        ",\"kv_lora_rank\":16,\"q_lora_rank\":null,\"qk_nope_head_dim\":8,\"qk_rope_head_dim\":4,"
        "\"v_head_dim\":8,\"n_routed_experts\":4,\"num_experts_per_tok\":2,\"n_group\":2,"
        "\"topk_group\":1,\"n_shared_experts\":1,\"moe_intermediate_size\":16,"
        "\"first_k_dense_replace\":1";
    const bool mla = strcmp(family, "deepseek_v3") == 0;
    char fields[1024];
    if (mz_chip_find("cpu") == NULL) ok(mz_chip_register(mz_cpu_chip()));
    ok(mz_file_mkdirs(program_path(name)));
    (void)snprintf(fields, sizeof fields,
                   "{\"model_type\":\"%s\",\"vocab_size\":%d,\"hidden_size\":32,"
                   "\"intermediate_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                   "\"num_key_value_heads\":%d,\"max_position_embeddings\":256,"
                   "\"initializer_range\":0.15,\"eos_token_id\":262,\"bos_token_id\":null%s%s}",
                   family, SMALL_ROWS, mla ? 4 : 2,
                   strcmp(family, "qwen3") == 0 ? ",\"head_dim\":16" : "", mla ? latent : "");
    write_weights(name, fields);
    write_tokenizer(name);
}
