/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_stored.c - golden networks written as GGUF and as folders, used as they lie
 * there: the logits of the same file unpacked, from the file's own memory, on chips that take such
 * weights and on one that does not. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/fault/fault.h"
#include "chips/ref/ref.h"
#include "file/safetensors.h"
#include "infer/probe.h"
#include "port/gguf.h"
#include "port/hf.h"
#include "port/source.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 512 };
static char base[] = "/tmp/mz_sto_XXXXXX";
static char said[2048]; /* every warning, one after the other */

static void listen(void *user, mz_log_level level, const char *line)
{
    (void)user;
    const size_t n = strlen(said);
    if (level >= MZ_LOG_WARN) snprintf(said + n, sizeof said - n, "%s\n", line);
}

static void need(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s", mz_err_last()->message);
}

/* tests/golden/NAME as a GGUF of that type; as_folder: in shards of 8 KiB of `dtype` instead. */
static void save_any(char path[PATH_BYTES], const char *name, mz_ggml type, bool as_folder,
                     mz_dtype dtype)
{
    char folder[PATH_BYTES];
    mz_device *device = NULL;
    mz_queue *q = NULL;
    mz_source *source = NULL;
    mz_params params = {0};
    const mz_gguf_export o = {.type = type, .name = "golden"};
    snprintf(folder, sizeof folder, "tests/golden/%s", name);
    snprintf(path, PATH_BYTES, "%s/%s.%s%s", base, name,
             as_folder ? mz_dtype_name(dtype) : mz_ggml_name(type), as_folder ? "" : ".gguf");
    need(mz_device_open(&device, "ref", NULL));
    need(mz_queue_open(&q, device));
    need(mz_source_open(&source, folder));
    need(mz_params_list(&params, mz_source_config(source), MZ_F32));
    need(mz_params_alloc(&params, device, false));
    need(mz_source_load(source, &params, q));
    const mz_config *c = mz_source_config(source);
    if (as_folder) need(mz_file_mkdirs(path));
    need(as_folder ? mz_hf_save_shards(&params, q, c, path, dtype, 8 << 10)
                   : mz_gguf_save_params(&params, q, c, path, &o));
    mz_params_clear(&params);
    mz_source_close(source);
    mz_queue_close(q);
    mz_device_close(device);
}

static void save_as(char path[PATH_BYTES], const char *name, mz_ggml type)
{
    save_any(path, name, type, false, MZ_F32);
}

static void save_folder(char path[PATH_BYTES], const char *name, mz_dtype dtype)
{
    save_any(path, name, MZ_GGML_F32, true, dtype);
}

static mz_st_file *probe(const char *chip, const char *name, const char *model, bool as_stored)
{
    const mz_probe_options o = {.dtype = MZ_F32, .as_stored = as_stored, .decode = true};
    char in[PATH_BYTES + 32], out[PATH_BYTES + 32];
    mz_device *device = NULL;
    mz_st_file *file = NULL;
    snprintf(in, sizeof in, "tests/golden/%s/in.safetensors", name);
    snprintf(out, sizeof out, "%s/%d.safetensors", base, as_stored);
    need(mz_device_open(&device, chip, NULL));
    need(mz_probe(device, model, in, out, &o));
    need(mz_st_open(&file, out));
    mz_device_close(device);
    return file;
}

/* Largest difference, relative to the largest number. */
static double apart(const mz_st_file *a, const mz_st_file *b, const char *name)
{
    const mz_st_tensor *x = mz_st_find(a, name), *y = mz_st_find(b, name);
    double most = 0.0, far = 0.0;
    assert_true(x && y && x->count == y->count && x->count > 0);
    for (int64_t i = 0; i < x->count; i++) {
        float u, v;
        memcpy(&u, (const char *)x->data + 4 * i, 4);
        memcpy(&v, (const char *)y->data + 4 * i, 4);
        if (fabs((double)u) > most) most = fabs((double)u);
        if (!(fabs((double)u - (double)v) <= far)) far = fabs((double)u - (double)v);
    }
    return far / most;
}

static void same_at(const char *path, const char *chip, const char *name)
{
    mz_st_file *plain = probe(chip, name, path, false), *stored = probe(chip, name, path, true);
    const double far = apart(plain, stored, "logits");
    const double cached = apart(plain, stored, "decode.logits");
    mz_st_close(plain);
    mz_st_close(stored);
    if (!(far <= 2e-5) || !(cached <= 2e-5))
        fail_msg("%s on %s: logits differ by %g, decoded %g", path, chip, far, cached);
}

static void same_logits(const char *chip, const char *name, mz_ggml type)
{
    char path[PATH_BYTES];
    save_as(path, name, type);
    same_at(path, chip, name);
}

static void same_of_folder(const char *chip, const char *name, mz_dtype dtype)
{
    char path[PATH_BYTES];
    save_folder(path, name, dtype);
    same_at(path, chip, name);
}

/* The same numbers in another order of sums; tied heads, biases, experts and latents are among
 * them. */
static void as_stored_is_as_unpacked(void **state)
{
    (void)state;
    static const char *const MODELS[] = {"llama",      "llama_tied",  "llama_llama3", "llama_bias",
                                         "qwen2",      "qwen2_tied",  "deepseek_v2",  "deepseek_v3",
                                         "llama_wide", "llama_linear"};
    static const mz_ggml TYPES[] = {MZ_GGML_Q8_0, MZ_GGML_Q4_0, MZ_GGML_F16, MZ_GGML_BF16,
                                    MZ_GGML_F32};
    for (int i = 0; i < MZ_COUNT(MODELS); i++)
        for (int k = 0; k < MZ_COUNT(TYPES); k += i < 2 || i == 7 ? 1 : 3)
            same_logits("cpu", MODELS[i], TYPES[k]);
    same_logits("ref", "llama_tied", MZ_GGML_Q8_0);
    same_logits("fault:cpu", "llama", MZ_GGML_Q8_0); /* takes blocks, but not the host's memory */
    same_logits("fault:cpu", "deepseek_v2", MZ_GGML_BF16);
    same_logits("ref", "deepseek_v3", MZ_GGML_Q4_0);
}

static void folders_as_stored_are_as_copied(void **state)
{
    (void)state;
    static const char *const MODELS[] = {"llama_tied", "qwen2", "qwen3", "deepseek_v2",
                                         "deepseek_v3"};
    static const mz_dtype DTYPES[] = {MZ_BF16, MZ_F16, MZ_F32};
    for (int i = 0; i < MZ_COUNT(MODELS); i++)
        for (int k = 0; k < MZ_COUNT(DTYPES); k++) same_of_folder("cpu", MODELS[i], DTYPES[k]);
    same_of_folder("ref", "qwen3", MZ_BF16);
    same_of_folder("fault:cpu", "deepseek_v3", MZ_F16);
    same_of_folder("far", "llama", MZ_BF16);
}

/* Bound and loaded; the caller clears. */
typedef struct bound {
    mz_device *device;
    mz_queue *q;
    mz_source *source;
    mz_model *model;
} bound;

static void clear(bound *b)
{
    mz_model_free(b->model);
    mz_source_close(b->source);
    mz_queue_close(b->q);
    mz_device_close(b->device);
}

static mz_err bind_in(bound *b, const char *chip, const char *path, mz_dtype dtype, bool as_stored)
{
    const mz_model_options o = {
        .dtype = dtype, .tokens_max = 8, .sequences_max = 1, .position_max = 8, .head_rows = 1};
    memset(b, 0, sizeof *b);
    MZ_TRY(mz_device_open(&b->device, chip, NULL));
    MZ_TRY(mz_queue_open(&b->q, b->device));
    MZ_TRY(mz_source_open(&b->source, path));
    return mz_source_model(&b->model, b->source, b->q, &o, as_stored);
}

static mz_err bind(bound *b, const char *chip, const char *path)
{
    return bind_in(b, chip, path, MZ_F32, true);
}

static const mz_param *param(const bound *b, const char *name)
{
    const mz_param *p = mz_params_find(mz_model_params(b->model), name);
    if (!p) fail_msg("no parameter %s", name);
    return p;
}

static void weights_are_the_file(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    bound b;
    save_as(path, "llama", MZ_GGML_Q8_0);
    need(bind(&b, "cpu", path));
    size_t bytes = 0;
    const unsigned char *data = mz_gguf_bytes(mz_source_gguf(b.source), &bytes);
    const mz_params *all = mz_model_params(b.model);
    size_t copied = 0;
    for (int64_t i = 0; i < all->n; i++) {
        const mz_param *p = &all->list[i];
        const unsigned char *host = mz_host(&p->w);
        const bool turned = strstr(p->name, "q_proj") || strstr(p->name, "k_proj");
        const bool is_matrix = p->kind == MZ_PARAM_MATRIX || p->kind == MZ_PARAM_EMBED;
        if (!is_matrix) continue;
        assert_int_equal(p->w.dtype, p->dim[1] % 32 == 0 ? MZ_Q8_0 : MZ_F16);
        assert_int_equal(p->outside, !turned);
        assert_int_equal(host >= data && host < data + bytes, !turned);
        if (turned) copied += (size_t)mz_count(&p->w) / 32 * 34 + 256;
    }
    assert_true(copied > 0 && all->weights_bytes <= copied + 64 * 256); /* and the norms */
    /* what is read only is not written */
    const mz_param *embed = param(&b, "model.embed_tokens.weight");
    assert_int_equal(mz_upload(b.q, &embed->w, data), MZ_EINVAL);
    assert_int_equal(mz_zero(b.q, &embed->w), MZ_EINVAL);
    clear(&b);
}

/* Weights are unpacked to a dtype that is asked for; what is no wider than bf16 stays for that. */
static void weights_of_the_dtype_asked_for_stay(void **state)
{
    (void)state;
    static const struct {
        mz_ggml type;
        mz_dtype asked, lies;
        bool stays;
    } WANT[] = {{MZ_GGML_BF16, MZ_BF16, MZ_BF16, true}, {MZ_GGML_Q8_0, MZ_BF16, MZ_Q8_0, true},
                {MZ_GGML_F16, MZ_BF16, MZ_F16, true},   {MZ_GGML_F32, MZ_BF16, MZ_BF16, false},
                {MZ_GGML_Q8_0, MZ_F32, MZ_F32, false},  {MZ_GGML_BF16, MZ_F32, MZ_F32, false}};
    for (int i = 0; i < MZ_COUNT(WANT); i++) {
        char path[PATH_BYTES];
        bound b;
        save_as(path, "llama", WANT[i].type);
        need(bind_in(&b, "cpu", path, WANT[i].asked, false));
        const mz_param *up = param(&b, "model.layers.0.mlp.up_proj.weight");
        assert_int_equal(up->w.dtype, WANT[i].lies);
        assert_int_equal(up->outside, WANT[i].stays);
        clear(&b);
    }
}

/* Of a folder in several files: no matrix has a copy, but for routed experts and kv_b. */
static void weights_are_the_folder(void **state)
{
    (void)state;
    static const char *const MODELS[] = {"llama", "deepseek_v3"};
    for (int m = 0; m < MZ_COUNT(MODELS); m++) {
        char path[PATH_BYTES], name[160];
        bound b;
        save_folder(path, MODELS[m], MZ_BF16);
        need(bind(&b, "cpu", path));
        const mz_hub *hub = mz_source_hub(b.source);
        const mz_params *all = mz_model_params(b.model);
        int64_t mapped = 0;
        for (int64_t i = 0; i < all->n; i++) {
            const mz_param *p = &all->list[i];
            if (p->kind != MZ_PARAM_MATRIX && p->kind != MZ_PARAM_EMBED) continue;
            need(mz_param_disk_name(p, 0, name, sizeof name));
            const bool is_cut = m == 1 && strstr(name, ".kv_b_proj.");
            assert_int_equal(p->w.dtype, is_cut ? MZ_F32 : MZ_BF16);
            assert_int_equal(p->outside, !is_cut && !p->by_expert);
            const bool lies = mz_host(&p->w) == mz_hub_find(hub, name)->data;
            assert_int_equal(lies, p->outside);
            mapped += lies;
        }
        assert_true(mapped > 5);
        clear(&b);
    }
}

/* A chip with memory of its own and without such operators: unpacked, and it is said. */
static void a_chip_that_refuses_is_named(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    save_as(path, "llama", MZ_GGML_Q8_0);
    said[0] = '\0';
    mz_log_to(listen, NULL);
    mz_st_file *far = probe("far", "llama", path, true);
    mz_log_to(NULL, NULL);
    if (!strstr(said, "far") || !strstr(said, "no weights of Q8_0, so they are unpacked to F32"))
        fail_msg("\"%s\" was said", said);
    mz_st_file *plain = probe("ref", "llama", path, false);
    assert_true(apart(plain, far, "logits") <= 2e-5);
    mz_st_close(far);
    mz_st_close(plain);
}

/* Scales that are infinite or no number, in a tensor that is mapped and in one that is copied. */
static void bad_scales_are_found(void **state)
{
    (void)state;
    static const char *const TENSORS[] = {"token_embd.weight", "blk.0.attn_q.weight",
                                          "blk.1.ffn_down.weight"};
    for (int i = 0; i < MZ_COUNT(TENSORS); i++) {
        char path[PATH_BYTES];
        mz_gguf *file = NULL;
        bound b;
        save_as(path, "llama", i == 2 ? MZ_GGML_BF16 : MZ_GGML_Q8_0);
        need(mz_gguf_open(&file, path));
        const mz_gguf_tensor *t = mz_gguf_find(file, TENSORS[i]);
        const long last = (long)(t->offset + t->bytes) - (long)(i == 2 ? 2 : 34);
        mz_gguf_close(file);
        FILE *f = fopen(path, "r+b");
        assert_true(f && fseek(f, last, SEEK_SET) == 0);
        assert_int_equal(fwrite(i == 2 ? "\x80\x7f" : "\x00\x7c", 1, 2, f), 2);
        fclose(f);
        assert_int_equal(bind(&b, "cpu", path), MZ_ECORRUPT);
        assert_string_equal(mz_err_last()->field, TENSORS[i]);
        clear(&b);
    }
}

static void no_memory_for(const char *path)
{
    mz_err err = MZ_ENOMEM;
    for (int64_t n = 1; err != MZ_OK; n++) {
        bound b;
        mz_mem_fail_at(n, false);
        err = bind(&b, "cpu", path);
        mz_mem_fail_at(0, false);
        clear(&b);
        if (err != MZ_OK) assert_int_equal(err, MZ_ENOMEM);
        assert_true(n < 5000);
    }
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    save_as(path, "llama", MZ_GGML_Q8_0);
    no_memory_for(path);
    save_folder(path, "llama", MZ_BF16);
    no_memory_for(path);
}

static int make_base(void **state)
{
    (void)state;
    if (mz_chip_register(mz_cpu_chip()) != MZ_OK || mz_chip_register(&mz_chip_ref) != MZ_OK ||
        mz_chip_register(mz_far_chip()) != MZ_OK || mz_chip_register(mz_fault_chip()) != MZ_OK)
        return -1;
    return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_stored_is_as_unpacked),
        cmocka_unit_test(folders_as_stored_are_as_copied),
        cmocka_unit_test(weights_are_the_file),
        cmocka_unit_test(weights_of_the_dtype_asked_for_stay),
        cmocka_unit_test(weights_are_the_folder),
        cmocka_unit_test(a_chip_that_refuses_is_named),
        cmocka_unit_test(bad_scales_are_found),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
