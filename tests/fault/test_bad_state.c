/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_bad_state.c - a checkpoint's state.json and manifest.json with one thing wrong;
 * and every text format cut at each byte, and with each byte changed. */
#include "tests/fault/bad.h"
#include "tests/model/tiny.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "file/hub.h"
#include "model/config.h"
#include "port/adapter.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/config.h"
#include "train/data.h"
#include "train/state.h"

static tiny world;
static mz_trainer *trainer;

/* ---- state.json ---- */

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STATE                                                                                      \
    "{'schema':1,'step':7,'tokens':70,'optimizer_step':6,'rng':{'generator':'philox4x32-10',"      \
    "'seed':3},'cursor':{'samples':14,'data_sha256':'" SUM "'},'guard':{'window':2,'taken':5,"     \
    "'skipped':1,'in_a_row':0,'loss':[1.5,1.25],'norm':[0.5,0.75]}}"

static mz_err open_state(const char *folder)
{
    mz_progress p = {.spikes.window = 2};
    const mz_checkpointed c = {.trainer = trainer};
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "state.json"));
    return mz_state_load_progress(&c, &p, path);
}

static const bad STATES[] = {
    {"nothing", NULL, "", MZ_ECORRUPT, "", "empty", ""},
    {"a list", NULL, "[]", MZ_ECORRUPT, "step", "not the state", NULL},
    {"no step", "'step'", "'stop'", MZ_ECORRUPT, "step", "not the state", NULL},
    {"a step below 0", "'step':7", "'step':-7", MZ_ECORRUPT, "step", "not the state", "-7"},
    {"a step that is a real", "'step':7", "'step':7.0", MZ_ECORRUPT, "step", "not the state",
     "7.0,"},
    {"a step past 64 bits", "'step':7", "'step':9223372036854775808", MZ_ECORRUPT, "step",
     "not the state", "9223372036854775808"},
    {"tokens as text", "'tokens':70", "'tokens':'70'", MZ_ECORRUPT, "tokens", "not the state",
     "'70'"},
    {"no updates", "'optimizer_step':6,", "", MZ_ECORRUPT, "optimizer_step", "not the state", NULL},
    {"no cursor", "'cursor'", "'cursed'", MZ_ECORRUPT, "cursor.samples", "not the state", NULL},
    {"samples below 0", "'samples':14", "'samples':-1", MZ_ECORRUPT, "cursor.samples",
     "not the state", "-1,'data"},
    {"a short checksum", "'0123", "'123", MZ_ECORRUPT, "cursor.data_sha256", "not the state",
     "'123"},
    {"a seed that is none", "'seed':3", "'seed':null", MZ_ECORRUPT, "rng.seed", "not the state",
     "null"},
    {"taken below 0", "'taken':5", "'taken':-5", MZ_ECORRUPT, "guard.taken", "not the state", "-5"},
    {"a ring longer than was taken", "'taken':5", "'taken':1", MZ_ECORRUPT, "guard.loss",
     "not the state", "[1.5"},
    {"a ring of texts", "[0.5,0.75]", "[0.5,'x']", MZ_ECORRUPT, "guard.norm", "not the state",
     "[0.5,'x']"},
    {"a ring that is none", "[0.5,0.75]", "{}", MZ_ECORRUPT, "guard.norm", "not the state", "{}}}"},
    {"a best step of 0", "'guard'", "'best':{'step':0,'eval_loss':1.0},'guard'", MZ_ECORRUPT,
     "best", "not the state", "{'step':0"},
};

static void states(void **state)
{
    (void)state;
    const bad_table t = {.file = "state.json", .good = STATE, .open = open_state};
    bad_run(&t, STATES, MZ_COUNT(STATES));
}

/* ---- every byte ---- */

static mz_err open_config(const char *folder)
{
    mz_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "config.json"));
    return mz_config_read(&c, path);
}

static mz_err open_hub(const char *folder)
{
    mz_hub *hub = NULL;
    const mz_err err = mz_hub_open(&hub, folder);
    mz_hub_close(hub);
    return err;
}

static mz_err open_tokenizer(const char *folder)
{
    mz_tokenizer *t = NULL;
    const mz_err err = mz_tokenizer_open(&t, folder);
    mz_tokenizer_free(t);
    return err;
}

static mz_err open_run(const char *folder)
{
    static mz_train_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "c.yaml"));
    return mz_config_load(&c, path, NULL, 0);
}

static mz_err open_adapter(const char *folder)
{
    mz_adapter *a = NULL;
    const mz_err err = mz_adapter_open(&a, folder);
    mz_adapter_close(a);
    return err;
}

static mz_err open_chat(const char *folder)
{
    mz_chat_template t;
    return mz_chat_open(&t, folder);
}

static mz_err open_rows(const char *folder)
{
    const mz_data_options o = {.seq = 8, .vocab = 16};
    mz_data *data = NULL;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "d.jsonl"));
    const mz_err err = mz_data_open(&data, path, &o);
    mz_data_close(data);
    return err;
}

#define TOKENIZER                                                                                  \
    "{'added_tokens':[{'id':3,'content':'<s>'}],'pre_tokenizer':{'type':'ByteLevel'},"             \
    "'model':{'vocab':{'a':0,'b':1,'ab':2},'merges':['a b']}}"
#define INDEX "{'metadata':{'total_size':16},'weight_map':{'a':'s','b':'sub/t'}}"
#define ADAPTER "{'peft_type':'LORA','r':2,'lora_alpha':4,'target_modules':['q_proj']}"
#define PAIR                                                                                       \
    "{'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight':{'dtype':'F32',"            \
    "'shape':[2,1],'data_offsets':[0,8]},'base_model.model.model.layers.0.self_attn.q_proj"        \
    ".lora_B.weight':{'dtype':'F32','shape':[1,2],'data_offsets':[8,16]}}"

static const bad_table TEXTS[] = {
    {.file = "config.json",
     .good = "{'model_type':'qwen3','hidden_size':4,'intermediate_size':4,'num_hidden_layers':1,"
             "'num_attention_heads':2,'vocab_size':4,'rope_scaling':{'type':'linear','factor':2}}",
     .open = open_config},
    {.file = "model.safetensors.index.json", .good = INDEX, .open = open_hub},
    {.file = "tokenizer.json", .good = TOKENIZER, .open = open_tokenizer},
    {.file = "tokenizer_config.json",
     .good = "{'bos_token':'<s>','eos_token':{'content':'<s>'},'add_bos_token':false}",
     .open = open_tokenizer},
    {.file = "generation_config.json",
     .good = "{'bos_token_id':3,'eos_token_id':[2,3],'temperature':0.5}",
     .open = open_tokenizer},
    {.file = "chat_template.jinja",
     .good = "{{ '<|im_start|>' }}{{ '<|im_end|>\n' }}",
     .open = open_chat},
    {.file = "adapter_config.json", .good = ADAPTER, .open = open_adapter},
    {.file = "adapter_model.safetensors",
     .good = PAIR,
     .open = open_adapter,
     .safetensors = true,
     .data_bytes = 16},
    {.file = "s",
     .good = "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}",
     .open = open_hub,
     .safetensors = true,
     .data_bytes = 8},
    {.file = "d.jsonl",
     .good = "{'ids':[1,2,15]}\n{'ids':[3,4],'x':[{'y':null}]}\n",
     .open = open_rows},
    {.file = "state.json", .good = STATE, .open = open_state},
    {.file = "c.yaml",
     .good = "model: {path: m}\ndata: {path: d, seq: 8}\nrun: {dir: r, steps: 3}\noptim.lr: 1e-3\n"
             "batch.global: 2\nranks: [{chip: cpu, share: 2}]\n",
     .open = open_run},
};

/* What the others need. */
static void put_beside(void)
{
    char path[256];
    bad_put("config.json", "{}");
    bad_put("tokenizer.json", TOKENIZER);
    bad_put("adapter_config.json", ADAPTER);
    bad_put_safetensors("adapter_model.safetensors", PAIR, 16);
    bad_put("model.safetensors.index.json", INDEX);
    bad_put_safetensors("s", "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8);
    tiny_ok(mz_path_join(path, sizeof path, bad_folder(), "sub"));
    tiny_ok(mz_file_mkdirs(path));
    bad_put_safetensors("sub/t", "{'b':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8);
}

static mz_err try_bytes(const bad_table *t, const char *bytes, size_t n)
{
    const size_t before = mz_mem_bytes_used();
    bad_put_bytes(t->file, bytes, n);
    mz_err_clear();
    const mz_err err = t->open(bad_folder());
    if (mz_mem_bytes_used() != before) fail_msg("%s of %zu bytes loses memory", t->file, n);
    const bool known = err == MZ_OK || err == MZ_ECORRUPT || err == MZ_ECONFIG ||
                       err == MZ_ENOTSUP || err == MZ_EIO;
    if (!known || (err != MZ_OK && !mz_err_last()->message[0]))
        fail_msg("%s of %zu bytes: %s %s", t->file, n, mz_err_name(err), mz_err_last()->message);
    return err;
}

/* The good file as it lies on disk. */
static char *whole(const bad_table *t, size_t *bytes)
{
    const size_t n = strlen(t->good), head = t->safetensors ? 8 : 0;
    char *text = NULL;
    *bytes = head + n + t->data_bytes;
    tiny_ok(mz_mem_new(&text, (int64_t)*bytes + 1, 1));
    for (size_t i = 0; i < head; i++) text[i] = (char)((uint64_t)n >> 8 * i & 0xff);
    for (size_t i = 0; i < n; i++) text[head + i] = t->good[i] == '\'' ? '"' : t->good[i];
    return text;
}

/* Cut at every byte; every byte changed in five ways. No beginning of JSON is whole; of lines, of
 * YAML and of templates some are. */
static void each_byte(const bad_table *t)
{
    static const unsigned char change[] = {0x01, 0x02, 0x20, 0x80, 0xff};
    const bool is_whole_alone = t->safetensors || mz_str_ends(t->file, ".json");
    size_t n = 0;
    char *text = whole(t, &n);
    if (try_bytes(t, text, n) != MZ_OK) fail_msg("%s: %s", t->file, mz_err_last()->message);
    for (size_t i = 0; i < n; i++)
        if (try_bytes(t, text, i) == MZ_OK && is_whole_alone) fail_msg("%s cut at %zu", t->file, i);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < MZ_COUNT(change); c++) {
            text[i] = (char)(text[i] ^ change[c]);
            (void)try_bytes(t, text, n);
            text[i] = (char)(text[i] ^ change[c]);
        }
    mz_mem_free(text);
}

static void every_byte(void **state)
{
    (void)state;
    for (int k = 0; k < MZ_COUNT(TEXTS); k++) {
        put_beside();
        each_byte(&TEXTS[k]);
        bad_remove(TEXTS[k].file);
    }
}

/* ---- manifest.json ---- */

static mz_err open_manifest(const char *folder)
{
    int64_t n = 0;
    return mz_checkpoint_verify(folder, &n);
}

static const char *const FILES[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                    "state.json", "train.yaml"};

static char *manifest(void)
{
    mz_str s = {0};
    char path[256], sum[MZ_SHA256_HEX];
    tiny_ok(mz_str_addf(&s, "{'schema':1,'step':1,'files':["));
    for (int i = 0; i < MZ_COUNT(FILES); i++) {
        bad_put(FILES[i], "some bytes");
        tiny_ok(mz_path_join(path, sizeof path, bad_folder(), FILES[i]));
        tiny_ok(mz_sha256_file(sum, path, NULL));
        tiny_ok(mz_str_addf(&s, "%s{'name':'%s','bytes':10,'sha256':'%s'}", i ? "," : "", FILES[i],
                            sum));
    }
    tiny_ok(mz_str_addf(&s, "]}"));
    return s.text;
}

static const bad MANIFESTS[] = {
    {"no JSON", NULL, "{", MZ_ECORRUPT, "", "line 1", ""},
    {"no files", "'files'", "'filed'", MZ_ECORRUPT, "config.json", "not in the manifest", NULL},
    {"one missing", "'state.json'", "'stote.json'", MZ_ECORRUPT, "state.json",
     "not in the manifest", NULL},
    {"another length", "'bytes':10", "'bytes':11", MZ_ECORRUPT, "config.json", "another length",
     NULL},
    {"a length that is none", "'bytes':10", "'bytes':'10'", MZ_ECORRUPT, "config.json",
     "another length", NULL},
    {"no checksum", "'sha256'", "'sha255'", MZ_ECORRUPT, "config.json", "not in the manifest",
     NULL},
    {"another checksum", "'sha256':'", "'sha256':'0", MZ_ECORRUPT, "config.json", "checksum", NULL},
};

static void manifests(void **state)
{
    (void)state;
    char *good = manifest();
    const bad_table t = {.file = "manifest.json", .good = good, .open = open_manifest};
    bad_run(&t, MANIFESTS, MZ_COUNT(MANIFESTS));
    each_byte(&t);
    bad_remove("manifest.json");
    for (int i = 0; i < MZ_COUNT(FILES); i++) bad_remove(FILES[i]);
    mz_mem_free(good);
}

static int set_up(void **state)
{
    if (tiny_setup(state) != 0 || bad_make_folder(state) != 0) return -1;
    mz_config c = tiny_llama();
    const mz_model_options o = tiny_options(MZ_F32, true);
    tiny_open(&world, &c, &o);
    return mz_trainer_new(&trainer, world.queue, world.model) == MZ_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    mz_trainer_free(trainer);
    tiny_close(&world);
    return bad_drop_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),
        cmocka_unit_test(manifests),
        cmocka_unit_test(every_byte),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
