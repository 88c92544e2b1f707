/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_bad_models.c - Hugging Face folders with one thing wrong: config.json, weights,
 * the index of shards. */
#include "tests/fault/bad.h"

#include "base/file.h"
#include "port/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static mz_err open_model(const char *folder)
{
    mz_source *s = NULL;
    const mz_err err = mz_source_open(&s, folder);
    mz_source_close(s);
    return err;
}

/* ---- config.json, llama ---- */

#define LLAMA                                                                                      \
    "{'architectures':['LlamaForCausalLM'],'model_type':'llama','hidden_size':4,"                  \
    "'intermediate_size':4,'num_hidden_layers':1,'num_attention_heads':2,"                         \
    "'num_key_value_heads':1,'vocab_size':4,'rms_norm_eps':1e-6,'tie_word_embeddings':true,"       \
    "'hidden_act':'silu','max_position_embeddings':64,'bos_token_id':1,'eos_token_id':[2],"        \
    "'rope_scaling':{'rope_type':'llama3','factor':8.0,'low_freq_factor':1.0,"                     \
    "'high_freq_factor':4.0,'original_max_position_embeddings':16}}"

static const char WEIGHTS[] =
    "{'model.embed_tokens.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[0,32]},"
    "'model.layers.0.self_attn.q_proj.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[32,64]},"
    "'model.layers.0.self_attn.k_proj.weight':{'dtype':'F16','shape':[2,4],'data_offsets':[64,80]},"
    "'model.layers.0.self_attn.v_proj.weight':{'dtype':'F16','shape':[2,4],'data_offsets':[80,96]},"
    "'model.layers.0.self_attn.o_proj.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[96,128]}"
    ","
    "'model.layers.0.mlp.gate_proj.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[128,160]},"
    "'model.layers.0.mlp.up_proj.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[160,192]},"
    "'model.layers.0.mlp.down_proj.weight':{'dtype':'F16','shape':[4,4],'data_offsets':[192,224]},"
    "'model.layers.0.input_layernorm.weight':{'dtype':'F16','shape':[4],'data_offsets':[224,232]},"
    "'model.layers.0.post_attention_layernorm.weight':{'dtype':'F16','shape':[4],"
    "'data_offsets':[232,240]},"
    "'model.norm.weight':{'dtype':'F16','shape':[4],'data_offsets':[240,248]}}";
enum { WEIGHTS_BYTES = 248 };

static const bad CONFIGS[] = {
    {"nothing", NULL, "", MZ_ECORRUPT, "", "empty", ""},
    {"no JSON", NULL, "llama", MZ_ECORRUPT, "", "line 1", ""},
    {"a list", NULL, "[]", MZ_ECORRUPT, "", "JSON object", ""},
    {"cut off", "'rope_scaling'", "", MZ_ECORRUPT, "", "line 1", ""},
    {"a key twice", "'vocab_size':4", "'vocab_size':4,'vocab_size':4", MZ_ECORRUPT, "", "duplicate",
     ""},
    {"a NUL behind a number", "'vocab_size':4", "'vocab_size':4\\u0000", MZ_ECORRUPT, "", "", ""},
    {"no model_type", "'model_type':'llama',", "", MZ_ECONFIG, "model_type", "missing", NULL},
    {"another family", "'llama'", "'gpt_neox'", MZ_ECONFIG, "model_type", "deepseek_v3",
     "'gpt_neox'"},
    {"a family to come", "'llama'", "'deepseek_v4'", MZ_ECONFIG, "model_type", "planned",
     "'deepseek_v4'"},
    {"model_type a number", "'llama'", "7", MZ_ECORRUPT, "model_type", "a string", "7,'hid"},
    {"another architecture", "LlamaForCausalLM", "MistralForCausalLM", MZ_ECONFIG, "architectures",
     "LlamaForCausalLM", "['Mistral"},
    {"architectures a text", "['LlamaForCausalLM']", "'LlamaForCausalLM'", MZ_ECORRUPT,
     "architectures", "a list", "'LlamaForCausalLM'"},
    {"no hidden_size", "'hidden_size':4,", "", MZ_ECONFIG, "hidden_size", "missing", NULL},
    {"hidden_size 0", "'hidden_size':4", "'hidden_size':0", MZ_ECONFIG, "hidden_size", "1 to",
     "0,'inter"},
    {"hidden_size negative", "'hidden_size':4", "'hidden_size':-4", MZ_ECONFIG, "hidden_size",
     "1 to", "-4,"},
    {"hidden_size 2^62", "'hidden_size':4", "'hidden_size':4611686018427387904", MZ_ECONFIG,
     "hidden_size", "1 to", "4611686018427387904"},
    {"hidden_size past 64 bits", "'hidden_size':4", "'hidden_size':99999999999999999999",
     MZ_ECORRUPT, "hidden_size", "an integer", "99999999999999999999"},
    {"hidden_size a real", "'hidden_size':4", "'hidden_size':4.0", MZ_ECORRUPT, "hidden_size",
     "an integer", "4.0,'inter"},
    {"hidden_size a text", "'hidden_size':4", "'hidden_size':'4'", MZ_ECORRUPT, "hidden_size",
     "an integer", "'4'"},
    {"layers 0", "'num_hidden_layers':1", "'num_hidden_layers':0", MZ_ECONFIG, "num_hidden_layers",
     "1 to 4096", "0,'num_att"},
    {"layers 10^9", "'num_hidden_layers':1", "'num_hidden_layers':1000000000", MZ_ECONFIG,
     "num_hidden_layers", "1 to 4096", "1000000000"},
    {"layers more than tensors", "'num_hidden_layers':1", "'num_hidden_layers':4000", MZ_ECORRUPT,
     "num_hidden_layers", "11 tensors", "4000"},
    {"heads 0", "'num_attention_heads':2", "'num_attention_heads':0", MZ_ECONFIG,
     "num_attention_heads", "1 to", "0,'num_key"},
    {"heads that do not divide the width", "'num_attention_heads':2", "'num_attention_heads':3",
     MZ_ECONFIG, "num_attention_heads", "divisor", "3,'num_key"},
    {"an odd head", "'num_attention_heads':2", "'num_attention_heads':4", MZ_ECONFIG,
     "num_attention_heads", "even", "4,'num_key"},
    {"kv heads that do not divide", "'num_key_value_heads':1", "'num_key_value_heads':3",
     MZ_ECONFIG, "num_key_value_heads", "divisor", "3,'voc"},
    {"vocab 0", "'vocab_size':4", "'vocab_size':0", MZ_ECONFIG, "vocab_size", "1 to", "0,'rms"},
    {"vocab 2^31", "'vocab_size':4", "'vocab_size':2147483648", MZ_ECONFIG, "vocab_size", "1 to",
     "2147483648"},
    {"eps 0", "1e-6", "0.0", MZ_ECONFIG, "rms_norm_eps", "more than 0", "0.0,'tie"},
    {"eps a text", "1e-6", "'NaN'", MZ_ECORRUPT, "rms_norm_eps", "a number", "'NaN'"},
    {"eps NaN", "1e-6", "NaN", MZ_ECORRUPT, "", "line 1", ""},
    {"tied a number", "'tie_word_embeddings':true", "'tie_word_embeddings':1", MZ_ECORRUPT,
     "tie_word_embeddings", "true or false", "1,'hidden_act"},
    {"another activation", "'silu'", "'gelu'", MZ_ECONFIG, "hidden_act", "silu", "'gelu'"},
    {"an id that is none", "'bos_token_id':1", "'bos_token_id':-7", MZ_ECONFIG, "bos_token_id",
     "an id", "-7"},
    {"an id as text", "[2]", "['2']", MZ_ECORRUPT, "eos_token_id", "an id", "['2']"},
    {"rope of no known kind", "'llama3'", "'longrope'", MZ_ECONFIG, "rope_scaling.rope_type",
     "yarn", "'longrope'"},
    {"rope a list", "{'rope_type':'llama3','factor':8.0,'low_freq_factor':1.0,", "[{", MZ_ECORRUPT,
     "", "line 1", ""},
    {"rope factor 0", "8.0", "0.0", MZ_ECONFIG, "rope_scaling.factor", "1 to", "0.0,'low"},
    {"rope factor 1e400", "8.0", "1e400", MZ_ECORRUPT, "", "line 1", ""},
    {"rope without factor", "'factor':8.0,", "", MZ_ECONFIG, "rope_scaling.factor", "missing",
     NULL},
    {"rope's frequencies crossed", "4.0", "1.0", MZ_ECONFIG, "rope_scaling.high_freq_factor",
     "more than", "1.0,'orig"},
    {"rope's context 0", "'original_max_position_embeddings':16",
     "'original_max_position_embeddings':0", MZ_ECONFIG,
     "rope_scaling.original_max_position_embeddings", "1 to", "0}}"},
    {"weights of 4 bits", "'hidden_act'",
     "'quantization_config':{'quant_method':'gptq'},'hidden_act'", MZ_ECONFIG,
     "quantization_config.quant_method", "fp8", "'gptq'"},
    {"blocks of size 0", "'hidden_act'",
     "'quantization_config':{'quant_method':'fp8','weight_block_size':[0,128]},'hidden_act'",
     MZ_ECONFIG, "quantization_config.weight_block_size", "two sizes", "[0,128]"},
    {"sliding layers", "'hidden_act'", "'layer_types':['sliding_attention'],'hidden_act'",
     MZ_ECONFIG, "layer_types", "full_attention", "['sliding"},
    {"layer_types for other layers", "'hidden_act'",
     "'layer_types':['full_attention','full_attention'],'hidden_act'", MZ_ECONFIG, "layer_types",
     "1 names", "['full"},
};

static const bad WEIGHT[] = {
    {"no tensors", NULL, "{}", MZ_ECORRUPT, "data", "the file has 248", ""},
    {"one missing", "'model.norm.weight'", "'model.morn.weight'", MZ_ECORRUPT, "model.norm.weight",
     "missing", NULL},
    {"another shape", "q_proj.weight':{'dtype':'F16','shape':[4,4]",
     "q_proj.weight':{'dtype':'F16','shape':[2,8]", MZ_ECORRUPT,
     "model.layers.0.self_attn.q_proj.weight", "[4,4]", ""},
    {"no floats", "'model.norm.weight':{'dtype':'F16'", "'model.norm.weight':{'dtype':'I16'",
     MZ_ECORRUPT, "model.norm.weight", "a float", ""},
    {"one too many", "[240,248]}",
     "[240,246]},'extra':{'dtype':'F16','shape':[1],'data_offsets':[246,248]}", MZ_ECORRUPT,
     "model.norm.weight", "do not fit", ""},
    {"one that nobody wants",
     "'model.norm.weight':{'dtype':'F16','shape':[4],'data_offsets':[240,248]}",
     "'model.norm.weight':{'dtype':'U8','shape':[4],'data_offsets':[240,244]},"
     "'x':{'dtype':'F16','shape':[2],'data_offsets':[244,248]}",
     MZ_ECORRUPT, "model.norm.weight", "a float", ""},
    {"a layer that is not there", "layers.0.mlp.up_proj", "layers.1.mlp.up_proj", MZ_ECORRUPT,
     "model.layers.0.mlp.up_proj.weight", "missing", NULL},
    {"the name of another", "layers.0.mlp.up_proj", "layers.0.mlp.gate_proj", MZ_ECORRUPT,
     "model.layers.0.mlp.gate_proj.weight", "twice", ""},
};

static void configs(void **state)
{
    (void)state;
    const bad_table t = {.file = "config.json", .good = LLAMA, .open = open_model};
    bad_put_safetensors("model.safetensors", WEIGHTS, WEIGHTS_BYTES);
    bad_run(&t, CONFIGS, MZ_COUNT(CONFIGS));
}

static void weights(void **state)
{
    (void)state;
    const bad_table t = {.file = "model.safetensors",
                         .good = WEIGHTS,
                         .open = open_model,
                         .safetensors = true,
                         .data_bytes = WEIGHTS_BYTES};
    bad_put("config.json", LLAMA);
    bad_run(&t, WEIGHT, MZ_COUNT(WEIGHT));
}

/* ---- config.json, deepseek_v3: only the config is read ---- */

static mz_err open_config(const char *folder)
{
    mz_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "config.json"));
    return mz_config_read(&c, path);
}

#define DEEPSEEK                                                                                   \
    "{'model_type':'deepseek_v3','hidden_size':8,'intermediate_size':16,'num_hidden_layers':2,"    \
    "'num_attention_heads':2,'num_key_value_heads':2,'vocab_size':32,'q_lora_rank':4,"             \
    "'kv_lora_rank':4,'qk_nope_head_dim':4,'qk_rope_head_dim':2,'v_head_dim':4,"                   \
    "'n_routed_experts':8,'n_shared_experts':1,'num_experts_per_tok':3,"                           \
    "'moe_intermediate_size':4,'first_k_dense_replace':1,'n_group':2,'topk_group':1,"              \
    "'num_nextn_predict_layers':1,'rope_scaling':{'type':'yarn','factor':4,"                       \
    "'beta_fast':32,'beta_slow':1,'original_max_position_embeddings':16}}"

static const bad DEEPSEEKS[] = {
    {"experts 0", "'n_routed_experts':8", "'n_routed_experts':0", MZ_ECONFIG, "n_routed_experts",
     "1 to", "0,'n_sh"},
    {"experts 10^9", "'n_routed_experts':8", "'n_routed_experts':1000000000", MZ_ECONFIG,
     "n_routed_experts", "1 to 65536", "1000000000"},
    {"more experts used than there are", "'num_experts_per_tok':3", "'num_experts_per_tok':9",
     MZ_ECONFIG, "num_experts_per_tok", "at most", "9,'moe"},
    {"more used than the groups kept hold", "'num_experts_per_tok':3", "'num_experts_per_tok':5",
     MZ_ECONFIG, "num_experts_per_tok", "at most the 4", "5,'moe"},
    {"groups that do not divide", "'n_group':2", "'n_group':3", MZ_ECONFIG, "n_group", "divisor",
     "3,'topk"},
    {"more groups kept than there are", "'topk_group':1", "'topk_group':3", MZ_ECONFIG,
     "topk_group", "at most n_group", "3,'num_next"},
    {"kv heads other than heads", "'num_key_value_heads':2", "'num_key_value_heads':1", MZ_ECONFIG,
     "num_key_value_heads", "latent", "1,'vocab"},
    {"latent of width 0", "'kv_lora_rank':4", "'kv_lora_rank':0", MZ_ECONFIG, "kv_lora_rank",
     "1 to", "0,'qk_nope"},
    {"an odd rotated part", "'qk_rope_head_dim':2", "'qk_rope_head_dim':3", MZ_ECONFIG,
     "qk_rope_head_dim", "even", "3,'v_head"},
    {"another score", "'n_group'", "'scoring_func':'softmax','n_group'", MZ_ECONFIG, "scoring_func",
     "sigmoid", "'softmax'"},
    {"another way to choose", "'n_group'", "'topk_method':'greedy','n_group'", MZ_ECONFIG,
     "topk_method", "noaux_tc", "'greedy'"},
    {"MTP layers past reason", "'num_nextn_predict_layers':1", "'num_nextn_predict_layers':65",
     MZ_ECONFIG, "num_nextn_predict_layers", "0 to 64", "65"},
    {"yarn's slopes crossed", "'beta_fast':32", "'beta_fast':0.5", MZ_ECONFIG,
     "rope_scaling.beta_fast", "at least", "0.5"},
};

static void deepseeks(void **state)
{
    (void)state;
    const bad_table t = {.file = "config.json", .good = DEEPSEEK, .open = open_config};
    bad_run(&t, DEEPSEEKS, MZ_COUNT(DEEPSEEKS));
}

/* ---- the index of shards, and paths (cases S6, P1, P2) ---- */

#define INDEX                                                                                      \
    "{'metadata':{'total_size':16},'weight_map':{'a':'s-1.safetensors','b':'s-2.safetensors'}}"
#define SHARD(name) "{'" name "':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}"

static mz_err open_hub(const char *folder)
{
    mz_hub *hub = NULL;
    const mz_err err = mz_hub_open(&hub, folder);
    mz_hub_close(hub);
    return err;
}

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
static const bad INDICES[] = {
    {"a name of 300 letters", "s-1.safetensors", HUNDRED HUNDRED HUNDRED, MZ_ECORRUPT,
     HUNDRED TEN TEN "0123...", "", "'" TEN},
    {"a name of 3,000 letters", "s-1.safetensors",
     HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
         HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
             HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED,
     MZ_ECORRUPT, HUNDRED TEN TEN "0123...", "", "'" TEN},
    {"no JSON", NULL, "{", MZ_ECORRUPT, "", "line 1", ""},
    {"a list", NULL, "[]", MZ_ECORRUPT, "weight_map", "expected an object", ""},
    {"no map", "weight_map", "weights", MZ_ECORRUPT, "weight_map", "expected an object", ""},
    {"a map that is a list", "{'a':'s-1.safetensors','b':'s-2.safetensors'}", "[]", MZ_ECORRUPT,
     "weight_map", "expected an object", "[]"},
    {"an empty map", "'a':'s-1.safetensors','b':'s-2.safetensors'", "", MZ_ECORRUPT, "weight_map",
     "expected an object", "{}"},
    {"a file that is a number", "'s-1.safetensors'", "1", MZ_ECORRUPT, "a", "name of a file",
     "1,'b'"},
    {"a file of no name", "'s-1.safetensors'", "''", MZ_ECORRUPT, "", "leaves the folder",
     "'','b'"},
    {"up and away", "s-1", "../s-1", MZ_ECORRUPT, "../s-1.safetensors", "leaves the folder",
     "'../s-1"},
    {"up and away, later", "s-1", "x/../../s-1", MZ_ECORRUPT, "x/../../s-1.safetensors",
     "leaves the folder", "'x/.."},
    {"up within the folder", "s-1", "x/../s-1", MZ_ECORRUPT, "x/../s-1.safetensors",
     "leaves the folder", "'x/.."},
    {"an absolute name", "s-1.safetensors", "/etc/passwd", MZ_ECORRUPT, "/etc/passwd",
     "leaves the folder", "'/etc"},
    {"backslashes", "s-1.safetensors", "..\\\\s-1", MZ_ECORRUPT, "..\\s-1", "leaves the folder",
     "'..\\\\s-1"},
    {"percent is no escape", "s-1.safetensors", "%2e%2e/s-1", MZ_ECORRUPT, "%2e%2e/s-1", "missing",
     "'%2e"},
    {"the folder itself", "s-1.safetensors", ".", MZ_ECORRUPT, ".", "leaves the folder", "'.','b'"},
    {"a dot in between", "s-1", "./s-1", MZ_ECORRUPT, "./s-1.safetensors", "leaves the folder",
     "'./s-1"},
    {"a slash too many", "s-1", "x//s-1", MZ_ECORRUPT, "x//s-1.safetensors", "leaves the folder",
     "'x//s-1"},
    {"a NUL in a name", "s-1", "s-1\\u0000", MZ_ECORRUPT, "", "line 1", ""},
    {"a shard that is missing", "s-1", "s-3", MZ_ECORRUPT, "s-3.safetensors", "missing", "'s-3"},
    {"a shard that is a folder", "s-1.safetensors", "sub", MZ_EIO, "", "not a regular file", NULL},
    {"a link out of the folder", "s-1.safetensors", "out", MZ_ECORRUPT, "out", "leaves the folder",
     "'out'"},
    {"a link in a circle", "s-1.safetensors", "round", MZ_EIO, "round", "", NULL},
    {"a folder that is a link out", "s-1.safetensors", "away/passwd", MZ_ECORRUPT, "away/passwd",
     "leaves the folder", "'away/passwd"},
    {"a tensor in no file", "'a':", "'c':'s-1.safetensors','a':", MZ_ECORRUPT, "c",
     "no file has this", "'s-1.safetensors','a'"},
    {"a tensor in the other file", "'a':'s-1", "'a':'s-2", MZ_ECORRUPT, "a", "no file has this",
     "'s-2.safetensors','b'"},
    {"two tensors of one name", "'a':'s-1.safetensors'", "'a':'two'", MZ_ECORRUPT, "b",
     "in two files", NULL},
    {"a tensor that is not named", "'a':'s-1.safetensors','b':'s-2.safetensors'", "'a':'two'",
     MZ_ECORRUPT, "b", "does not name", NULL},
};

static void indices(void **state)
{
    (void)state;
    const bad_table t = {.file = "model.safetensors.index.json", .good = INDEX, .open = open_hub};
    char path[256];
    bad_put("config.json", "{}");
    bad_remove("model.safetensors");
    bad_put_safetensors("s-1.safetensors", SHARD("a"), 8);
    bad_put_safetensors("s-2.safetensors", SHARD("b"), 8);
    bad_put_safetensors("two",
                        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},"
                        "'b':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}",
                        8);
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "sub"), MZ_OK);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "out"), MZ_OK);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "round"), MZ_OK);
    assert_int_equal(symlink("round", path), 0);
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "away"), MZ_OK);
    assert_int_equal(symlink("/etc", path), 0);
    bad_run(&t, INDICES, MZ_COUNT(INDICES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),
        cmocka_unit_test(weights),
        cmocka_unit_test(deepseeks),
        cmocka_unit_test(indices),
    };
    return cmocka_run_group_tests(tests, bad_make_folder, bad_drop_folder);
}
