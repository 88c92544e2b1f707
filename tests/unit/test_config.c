/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_config.c - config.json of every family: what is read, what is refused and how. */
#include "model/config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LLAMA                                                                                      \
    "'model_type':'llama','vocab_size':97,'hidden_size':32,'intermediate_size':48,"                \
    "'num_hidden_layers':2,'num_attention_heads':4"
#define MLA                                                                                        \
    "'vocab_size':97,'hidden_size':32,'intermediate_size':48,'num_hidden_layers':3,"               \
    "'num_attention_heads':4,'q_lora_rank':null,'kv_lora_rank':16,'qk_nope_head_dim':8,"           \
    "'qk_rope_head_dim':4,'v_head_dim':8,'moe_intermediate_size':16"
#define V2 "'model_type':'deepseek_v2'," MLA ",'n_routed_experts':8,'num_experts_per_tok':2"
#define V3                                                                                         \
    "'model_type':'deepseek_v3'," MLA ",'n_routed_experts':16,'num_experts_per_tok':4,"            \
    "'n_group':4,'topk_group':2"

/* fields: of an object, with ' for ". */
static mz_err parse(mz_config *c, const char *fields)
{
    char text[4096];
    snprintf(text, sizeof text, "{%s}", fields);
    for (char *p = text; *p; p++)
        if (*p == '\'') *p = '"';
    json_t *json = NULL;
    assert_int_equal(mz_json_parse(&json, text, strlen(text), "test"), MZ_OK);
    mz_err_clear();
    const mz_err err = mz_config_from_json(c, json, "a/config.json");
    json_decref(json);
    return err;
}

static mz_config good(const char *fields)
{
    mz_config c;
    if (parse(&c, fields) != MZ_OK) fail_msg("%s: %s", fields, mz_err_last()->message);
    return c;
}

static void same_real(double a, double b)
{
    if (!(fabs(a - b) <= 1e-15 * fabs(b))) fail_msg("%.17g, want %.17g", a, b);
}

static void llama_defaults_are_those_of_transformers(void **state)
{
    (void)state;
    const mz_config c = good(LLAMA);
    assert_true(c.family == MZ_FAMILY_LLAMA && c.head_dim == 8 && c.kv_heads == 4 && !c.tied);
    assert_true(c.max_position == 2048 && c.bos == 1 && c.eos == 2 && c.pad == -1);
    assert_true(c.rope.dims == 8 && !c.rope.interleaved && c.moe.experts == 0 && !c.mla);
    same_real(c.rms_eps, 1e-6);
    same_real(c.rope.theta, 1e4);
    same_real(c.scale, 1.0 / sqrt(8.0));
    assert_true(!c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm);
    const mz_config wide = good(LLAMA ",'head_dim':10,'num_key_value_heads':2,'eos_token_id':[7,8],"
                                      "'attention_bias':true,'mlp_bias':true,'bos_token_id':null");
    assert_true(wide.head_dim == 10 && wide.kv_heads == 2 && wide.eos == 7 && wide.bos == -1);
    assert_true(wide.qkv_bias && wide.o_bias && wide.mlp_bias);
}

static void qwens_have_their_biases_and_norms(void **state)
{
    (void)state;
    char text[1024];
    const char *rest = strchr(LLAMA, ',');
    snprintf(text, sizeof text, "'model_type':'qwen2'%s", rest);
    const mz_config q2 = good(text);
    assert_true(q2.qkv_bias && !q2.o_bias && !q2.qk_norm && q2.head_dim == 8);
    snprintf(text, sizeof text, "'model_type':'qwen3'%s", rest);
    const mz_config q3 = good(text);
    assert_true(!q3.qkv_bias && !q3.o_bias && q3.qk_norm && q3.head_dim == 128);
}

static void latent_attention_and_experts(void **state)
{
    (void)state;
    const mz_config v2 = good(V2 ",'n_shared_experts':3,'first_k_dense_replace':1");
    assert_true(v2.mla && v2.q_rank == 0 && v2.kv_rank == 16 && v2.head_dim == 12);
    assert_true(v2.rope.interleaved && v2.rope.dims == 4 && v2.moe.groups == 1);
    assert_true(!v2.moe.sigmoid && !v2.moe.normalise && v2.moe.shared == 3);
    assert_true(!mz_config_layer_is_moe(&v2, 0) && mz_config_layer_is_moe(&v2, 1));
    const mz_config grouped =
        good(V2 ",'topk_method':'group_limited_greedy','n_group':4,'topk_group':2");
    assert_true(grouped.moe.groups == 4 && grouped.moe.groups_kept == 2 && !grouped.moe.group_top2);
    const mz_config v3 = good(V3 ",'num_nextn_predict_layers':1,'rope_interleave':false");
    assert_true(v3.moe.sigmoid && v3.moe.normalise && v3.moe.group_top2 && v3.moe.selection_bias);
    assert_true(v3.mtp_layers == 1 && !v3.rope.interleaved && v3.moe.first_dense == 3);
    same_real(v3.moe.factor, 2.5);
    assert_true(mz_config_layer_is_moe(&v3, 3));
}

static void what_transformers_alone_would_do(void **state)
{
    (void)state;
    char text[1024];
    const char *rest = strchr(LLAMA, ',');
    for (int k = 1; k <= 2; k++) { /* the share of a lone expert stays as it is */
        snprintf(text, sizeof text,
                 "'model_type':'deepseek'%s,'n_routed_experts':8,'moe_intermediate_size':6,"
                 "'norm_topk_prob':true,'num_experts_per_tok':%d",
                 rest, k);
        assert_int_equal(good(text).moe.normalise, k > 1);
    }
    /* a factor of null is the ratio of the contexts, but one that is missing is missing */
    mz_config c = good(V3 ",'max_position_embeddings':640,'rope_scaling':{'type':'yarn',"
                          "'factor':null,'original_max_position_embeddings':64}");
    same_real(c.rope.factor, 10.0);
    assert_int_equal(parse(&c, V3 ",'rope_scaling':{'type':'yarn'}"), MZ_ECONFIG);
    /* the softmax is scaled whatever kind of scaling brings mscale_all_dim */
    c = good(V3 ",'rope_scaling':{'type':'linear','factor':4.0,'mscale_all_dim':0.5}");
    const double m = 0.1 * 0.5 * log(4.0) + 1.0;
    same_real(c.scale, m * m / sqrt(12.0));
}

static void both_forms_of_rope_say_the_same(void **state)
{
    (void)state;
    const char *four =
        V3 ",'rope_theta':20000,'rope_scaling':{'type':'yarn','factor':40,"
           "'original_max_position_embeddings':64,'mscale':1.0,'mscale_all_dim':0.5}";
    const char *five = V3 ",'rope_parameters':{'rope_type':'yarn','rope_theta':20000.0,"
                          "'factor':40.0,'original_max_position_embeddings':64,'mscale':1,"
                          "'mscale_all_dim':0.5}";
    mz_config a = good(four), b = good(five);
    assert_true(a.rope.scaling == MZ_ROPE_YARN && b.rope.scaling == MZ_ROPE_YARN);
    assert_true(a.rope.original_max_position == 64 && b.rope.original_max_position == 64);
    same_real(a.rope.theta, b.rope.theta);
    same_real(a.rope.factor, b.rope.factor);
    same_real(a.rope.mscale, b.rope.mscale);
    same_real(a.scale, b.scale);
    const double m = 0.1 * 0.5 * log(40.0) + 1.0;
    same_real(a.scale, m * m / sqrt(12.0));
    same_real(a.rope.beta_fast, 32.0);
    assert_true(a.rope.truncate);
    const mz_config l3 = good(LLAMA ",'rope_scaling':{'rope_type':'llama3','factor':8.0,"
                                    "'low_freq_factor':1.0,'high_freq_factor':4.0}");
    assert_true(l3.rope.scaling == MZ_ROPE_LLAMA3 && l3.rope.original_max_position == 2048);
    assert_true(good(LLAMA ",'rope_scaling':{'type':'linear','factor':4}").rope.scaling ==
                MZ_ROPE_LINEAR);
}

static const struct {
    const char *fields, *field, *says; /* what the note must name */
    mz_err code;
} BAD[] = {
    {"'vocab_size':97", "model_type", "missing", MZ_ECONFIG},
    {"'model_type':'gpt2'", "model_type", "gpt2", MZ_ECONFIG},
    {"'model_type':'deepseek_v4'", "model_type", "not yet", MZ_ECONFIG},
    {"'model_type':'deepseek_v32'", "model_type", "not yet", MZ_ECONFIG},
    {"'model_type':5", "model_type", "5", MZ_ECORRUPT},
    {"'model_type':'llama','vocab_size':97", "hidden_size", "missing", MZ_ECONFIG},
    {LLAMA ",'architectures':['LlamaForSequenceClassification']", "architectures", "Llama",
     MZ_ECONFIG},
    {LLAMA ",'architectures':7", "architectures", "7", MZ_ECORRUPT},
    {LLAMA ",'num_key_value_heads':3", "num_key_value_heads", "3", MZ_ECONFIG},
    {LLAMA ",'num_key_value_heads':8", "num_key_value_heads", "8", MZ_ECONFIG},
    {LLAMA ",'num_key_value_heads':0", "num_key_value_heads", "0", MZ_ECONFIG},
    {LLAMA ",'num_key_value_heads':'4'", "num_key_value_heads", "4", MZ_ECORRUPT},
    {LLAMA ",'num_key_value_heads':4.0", "num_key_value_heads", "4.0", MZ_ECORRUPT},
    {LLAMA ",'head_dim':7", "head_dim", "even", MZ_ECONFIG},
    {LLAMA ",'rms_norm_eps':0", "rms_norm_eps", "0", MZ_ECONFIG},
    {LLAMA ",'rms_norm_eps':-1e-6", "rms_norm_eps", "-", MZ_ECONFIG},
    {LLAMA ",'hidden_act':'gelu'", "hidden_act", "gelu", MZ_ECONFIG},
    {LLAMA ",'quantization_config':{'quant_method':'fp8'}", "quantization_config.weight_block_size",
     "two sizes", MZ_ECONFIG},
    {LLAMA ",'quantization_config':{'quant_method':'gptq'}", "quantization_config.quant_method",
     "gptq", MZ_ECONFIG},
    {LLAMA ",'layer_types':['full_attention','sliding_attention']", "layer_types", "sliding",
     MZ_ECONFIG},
    {LLAMA ",'layer_types':['full_attention']", "layer_types", "2 names", MZ_ECONFIG},
    {LLAMA ",'tie_word_embeddings':1", "tie_word_embeddings", "1", MZ_ECORRUPT},
    {LLAMA ",'partial_rotary_factor':0.5", "partial_rotary_factor", "0.5", MZ_ECONFIG},
    {LLAMA ",'rope_theta':0", "rope_theta", "0", MZ_ECONFIG},
    {LLAMA ",'rope_scaling':{'type':'dynamic','factor':2.0}", "rope_scaling.type", "dynamic",
     MZ_ECONFIG},
    {LLAMA ",'rope_scaling':{'type':'linear'}", "rope_scaling.factor", "missing", MZ_ECONFIG},
    {LLAMA ",'rope_scaling':{'type':'linear','factor':0.5}", "rope_scaling.factor", "0.5",
     MZ_ECONFIG},
    {LLAMA ",'rope_scaling':'linear'", "rope_scaling", "linear", MZ_ECORRUPT},
    {LLAMA ",'rope_theta':1e4,'rope_parameters':{'rope_theta':1e6}", "rope_parameters.rope_theta",
     "1000000.0", MZ_ECONFIG},
    {LLAMA ",'rope_scaling':{'type':'linear','factor':2},'rope_parameters':{'rope_type':'linear',"
           "'factor':4}",
     "rope_scaling", "rope_parameters", MZ_ECONFIG},
    {LLAMA ",'rope_scaling':{'type':'llama3','factor':8,'low_freq_factor':4,'high_freq_factor':4}",
     "rope_scaling.high_freq_factor", "4", MZ_ECONFIG},
    {V3 ",'num_key_value_heads':2", "num_key_value_heads", "2", MZ_ECONFIG},
    {V3 ",'rope_parameters':{'rope_type':'yarn','factor':4,'beta_fast':1,'beta_slow':2}",
     "rope_parameters.beta_fast", "beta_slow", MZ_ECONFIG},
    {V3 ",'scoring_func':'softmax'", "scoring_func", "sigmoid", MZ_ECONFIG},
    {V3 ",'topk_method':'greedy'", "topk_method", "noaux_tc", MZ_ECONFIG},
    {V2 ",'topk_method':'noaux_tc'", "topk_method", "greedy", MZ_ECONFIG},
    {V2 ",'topk_method':'group_limited_greedy'", "n_group", "missing", MZ_ECONFIG},
    {V2 ",'topk_method':'group_limited_greedy','n_group':3,'topk_group':1", "n_group", "divisor",
     MZ_ECONFIG},
    {V2 ",'topk_method':'group_limited_greedy','n_group':4,'topk_group':5", "topk_group", "4",
     MZ_ECONFIG},
    {V2 ",'routed_scaling_factor':0", "routed_scaling_factor", "0", MZ_ECONFIG},
    {"'model_type':'deepseek_v3'," MLA ",'n_routed_experts':16,'num_experts_per_tok':9,"
     "'n_group':4,'topk_group':2",
     "num_experts_per_tok", "8 experts", MZ_ECONFIG},
    {"'model_type':'deepseek_v3'," MLA ",'n_routed_experts':4,'num_experts_per_tok':2,"
     "'n_group':4,'topk_group':2",
     "n_group", "two", MZ_ECONFIG},
};

static void refusals_name_field_value_and_want(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(BAD); i++) {
        mz_config c;
        memset(&c, 0x5a, sizeof c);
        unsigned char before[sizeof c];
        memcpy(before, &c, sizeof c);
        const mz_err err = parse(&c, BAD[i].fields);
        const mz_err_info *info = mz_err_last();
        if (err != BAD[i].code || strcmp(info->field, BAD[i].field) != 0 ||
            !strstr(info->message, BAD[i].says) || strcmp(info->file, "a/config.json") != 0)
            fail_msg("case %d %s: %s, field %s: %s", i, BAD[i].fields, mz_err_name(err),
                     info->field, info->message);
        assert_memory_equal(&c, before, sizeof c); /* untouched */
    }
}

static void qwen_windows_in_use_are_refused(void **state)
{
    (void)state;
    char text[1024];
    mz_config c;
    snprintf(text, sizeof text, "'model_type':'qwen2'%s,'use_sliding_window':true,%s",
             strchr(LLAMA, ','), "'sliding_window':16,'max_window_layers':1");
    assert_int_equal(parse(&c, text), MZ_ECONFIG);
    assert_string_equal(mz_err_last()->field, "use_sliding_window");
    snprintf(text, sizeof text, "'model_type':'qwen2'%s,'use_sliding_window':true,%s",
             strchr(LLAMA, ','), "'sliding_window':16,'max_window_layers':2");
    assert_int_equal(parse(&c, text), MZ_OK); /* no layer that would use it */
}

static void json_round_trip_keeps_everything(void **state)
{
    (void)state;
    static const char *const cases[] = {
        LLAMA ",'head_dim':10,'attention_bias':true,'mlp_bias':true,'tie_word_embeddings':true",
        LLAMA ",'rope_theta':5e5,'rope_scaling':{'type':'llama3','factor':8,'low_freq_factor':1,"
              "'high_freq_factor':4,'original_max_position_embeddings':64}",
        V2 ",'topk_method':'group_limited_greedy','n_group':4,'topk_group':2,'aux_loss_alpha':0.01,"
           "'routed_scaling_factor':16.0",
        V3 ",'num_nextn_predict_layers':1,'rope_interleave':false,'rope_parameters':{'rope_type':"
           "'yarn','factor':4,'mscale':0.707,'mscale_all_dim':1,'truncate':false,"
           "'attention_factor':1.25}",
        "'model_type':'deepseek'," MLA ",'n_routed_experts':8,'n_shared_experts':2,"
        "'num_experts_per_tok':3,'first_k_dense_replace':1,'norm_topk_prob':true",
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) {
        const mz_config a = good(cases[i]);
        mz_config b;
        json_t *json = NULL;
        assert_int_equal(mz_config_to_json(&json, &a), MZ_OK);
        if (mz_config_from_json(&b, json, "again") != MZ_OK)
            fail_msg("%s: %s", cases[i], mz_err_last()->message);
        json_t *again = NULL;
        assert_int_equal(mz_config_to_json(&again, &b), MZ_OK);
        assert_true(json_equal(json, again) && a.family == b.family && a.mla == b.mla);
        assert_true(a.head_dim == b.head_dim && a.qkv_bias == b.qkv_bias && a.tied == b.tied);
        assert_true(a.rope.interleaved == b.rope.interleaved && a.rope.dims == b.rope.dims);
        same_real(a.scale, b.scale);
        json_decref(again);
        json_decref(json);
    }
}

/* By hand: theta 10000, dims 4: f = 1, 0.01. Yarn with factor 4, L 16: corrections of 32 and 1
 * rotations are -0.54 and 0.20, so low 0, high 1, and f = {1, 0.01/4}. */
static void rope_tables_by_hand(void **state)
{
    (void)state;
    float c[6], s[6];
    mz_rope_config r = {.dims = 4, .theta = 1e4, .factor = 1.0, .truncate = true};
    assert_int_equal(mz_rope_tables(&r, 3, c, s), MZ_OK);
    assert_true(fabs((double)c[4] - cos(2.0)) < 1e-7 && fabs((double)s[5] - sin(0.02)) < 1e-7);
    r.scaling = MZ_ROPE_LINEAR, r.factor = 4.0;
    assert_int_equal(mz_rope_tables(&r, 3, c, s), MZ_OK);
    assert_true(fabs((double)c[4] - cos(0.5)) < 1e-7 && fabs((double)s[5] - sin(0.005)) < 1e-7);
    r.scaling = MZ_ROPE_YARN, r.original_max_position = 16, r.beta_fast = 32, r.beta_slow = 1;
    assert_int_equal(mz_rope_tables(&r, 3, c, s), MZ_OK);
    const double m = 0.1 * log(4.0) + 1.0;
    assert_true(fabs((double)c[4] - m * cos(2.0)) < 2e-7);
    assert_true(fabs((double)s[5] - m * sin(0.005)) < 2e-7);
    r.mscale = r.mscale_all_dim = 0.7;
    assert_int_equal(mz_rope_tables(&r, 3, c, s), MZ_OK);
    assert_true(fabs((double)c[4] - cos(2.0)) < 2e-7);
    r.dims = 3;
    assert_int_equal(mz_rope_tables(&r, 3, c, s), MZ_EINVAL);
}

/* Yarn's ramp from the formula of the paper, in double: V3's own settings. */
static void yarn_ramp_lies_where_the_paper_says(void **state)
{
    (void)state;
    enum { D = 64 };
    const mz_rope_config r = {.scaling = MZ_ROPE_YARN,
                              .dims = D,
                              .theta = 1e4,
                              .factor = 40,
                              .original_max_position = 4096,
                              .beta_fast = 32,
                              .beta_slow = 1,
                              .mscale = 1,
                              .mscale_all_dim = 1,
                              .truncate = true};
    float c[2 * D / 2], s[2 * D / 2];
    assert_int_equal(mz_rope_tables(&r, 2, c, s), MZ_OK);
    const double pi = acos(-1.0);
    const double low = floor(D * log(4096 / (32 * 2 * pi)) / (2 * log(1e4)));
    const double high = ceil(D * log(4096 / (1 * 2 * pi)) / (2 * log(1e4)));
    assert_true(low > 0 && high < D / 2 - 1);
    for (int j = 0; j < D / 2; j++) {
        const double f = pow(1e4, -2.0 * j / D);
        const double ramp = fmin(fmax((j - low) / (high - low), 0.0), 1.0);
        const double angle = f / 40 * ramp + f * (1 - ramp);
        assert_true(fabs((double)s[D / 2 + j] - sin(angle)) < 3e-7 * angle + 1e-12);
        assert_true(fabs((double)c[D / 2 + j] - cos(angle)) < 2e-7);
    }
}

static void llama3_bends_only_the_middle(void **state)
{
    (void)state;
    enum { D = 128 };
    const mz_rope_config r = {.scaling = MZ_ROPE_LLAMA3,
                              .dims = D,
                              .theta = 5e5,
                              .factor = 8,
                              .original_max_position = 8192,
                              .low_freq_factor = 1,
                              .high_freq_factor = 4};
    float c[D], s[D];
    int kept = 0, bent = 0, slowed = 0;
    assert_int_equal(mz_rope_tables(&r, 2, c, s), MZ_OK);
    for (int j = 0; j < D / 2; j++) {
        const double f = pow(5e5, -2.0 * j / D), wave = 2 * acos(-1.0) / f;
        const double smooth = (8192 / wave - 1) / 3;
        const double want = wave < 2048   ? f
                            : wave > 8192 ? f / 8
                                          : (1 - smooth) * f / 8 + smooth * f;
        kept += wave<2048, slowed += wave> 8192, bent += wave >= 2048 && wave <= 8192;
        assert_true(fabs((double)s[D / 2 + j] - sin(want)) < 2e-6 * want);
    }
    assert_true(kept > 0 && bent > 0 && slowed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_defaults_are_those_of_transformers),
        cmocka_unit_test(qwens_have_their_biases_and_norms),
        cmocka_unit_test(latent_attention_and_experts),
        cmocka_unit_test(what_transformers_alone_would_do),
        cmocka_unit_test(both_forms_of_rope_say_the_same),
        cmocka_unit_test(refusals_name_field_value_and_want),
        cmocka_unit_test(qwen_windows_in_use_are_refused),
        cmocka_unit_test(json_round_trip_keeps_everything),
        cmocka_unit_test(rope_tables_by_hand),
        cmocka_unit_test(yarn_ramp_lies_where_the_paper_says),
        cmocka_unit_test(llama3_bends_only_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
