/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_hf.c - every golden folder is read: its config, the list of its parameters, its
 * weights onto a chip and back to disk; and what does not belong is refused. */
#include "base/file.h"
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/ref/ref.h"
#include "port/hf.h"
#include "tensor/convert.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATH_BYTES = 512, FOLDERS_LEAST = 20 };
static const char GOLDEN[] = "tests/golden";
static char base[] = "/tmp/mz_hf_XXXXXX";

typedef struct loaded {
    mz_device *device;
    mz_queue *q;
    mz_hub *hub;
    mz_config config;
    mz_params params;
} loaded;

static void clear(loaded *l)
{
    mz_params_clear(&l->params);
    mz_hub_close(l->hub);
    mz_queue_close(l->q);
    mz_device_close(l->device);
}

static mz_err load(loaded *l, const char *chip, const char *folder, mz_dtype dtype)
{
    memset(l, 0, sizeof *l);
    MZ_TRY(mz_device_open(&l->device, chip, NULL));
    MZ_TRY(mz_queue_open(&l->q, l->device));
    MZ_TRY(mz_hub_open(&l->hub, folder));
    MZ_TRY(mz_hf_config(&l->config, l->hub));
    MZ_TRY(mz_params_list(&l->params, &l->config, dtype));
    MZ_TRY(mz_params_alloc(&l->params, l->device, false));
    return mz_hf_load(&l->params, l->q, &l->config, l->hub);
}

static void loads(loaded *l, const char *chip, const char *folder, mz_dtype dtype)
{
    if (load(l, chip, folder, dtype) != MZ_OK) fail_msg("%s: %s", folder, mz_err_last()->message);
}

/* Holds every parameter on the chip against the file that it came from, rounded once. */
static void same_as_file(const loaded *l, const char *folder)
{
    char name[160];
    for (int64_t i = 0; i < l->params.n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&l->params.list[i]); e++) {
            const mz_param *p = &l->params.list[i];
            const mz_tensor view = mz_param_disk_view(p, &p->w, e);
            const int64_t n = mz_count(&view);
            const size_t bytes = (size_t)n * mz_dtype_bytes(view.dtype);
            unsigned char *got = NULL, *want = NULL;
            assert_int_equal(mz_param_disk_name(p, e, name, sizeof name), MZ_OK);
            const mz_st_tensor *t = mz_hub_find(l->hub, name);
            assert_int_equal(mz_mem_new(&got, (int64_t)bytes, 1), MZ_OK);
            assert_int_equal(mz_mem_new(&want, (int64_t)bytes, 1), MZ_OK);
            assert_int_equal(mz_download(l->q, got, &view), MZ_OK);
            assert_int_equal(mz_queue_sync(l->q), MZ_OK);
            assert_int_equal(mz_convert(want, view.dtype, t->data, t->dtype, n), MZ_OK);
            if (memcmp(got, want, bytes) != 0) fail_msg("%s: %s differs", folder, name);
            mz_mem_free(want);
            mz_mem_free(got);
        }
}

static void round_trip(const char *name)
{
    char folder[PATH_BYTES], again[PATH_BYTES];
    loaded a, b;
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    snprintf(again, sizeof again, "%s/%s", base, name);
    loads(&a, "ref", folder, MZ_F32);
    same_as_file(&a, folder);
    assert_int_equal(mz_hf_save(&a.params, a.q, &a.config, again, MZ_F32), MZ_OK);
    loads(&b, "far", again, MZ_BF16); /* a chip without host memory, and a conversion */
    same_as_file(&b, again);
    assert_int_equal(b.config.mtp_layers, a.config.mtp_layers);
    assert_int_equal(b.params.n, a.params.n);
    clear(&b);
    assert_int_equal(mz_hf_save(&a.params, a.q, &a.config, again, MZ_BF16), MZ_OK);
    loads(&b, "ref", again, MZ_F32);
    same_as_file(&b, again);
    clear(&b);
    clear(&a);
}

static void every_folder_goes_round(void **state)
{
    (void)state;
    int n = 0;
    DIR *dir = opendir(GOLDEN);
    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir));) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s/want.safetensors", GOLDEN, d->d_name);
        if (!mz_file_exists(path)) continue;
        round_trip(d->d_name);
        n++;
    }
    closedir(dir);
    assert_true(n >= FOLDERS_LEAST);
}

/* More elements than pass at a time, on a chip without host memory, converted both ways. */
static void large_tensors_pass_in_pieces(void **state)
{
    (void)state;
    static const char text[] = "{\"model_type\":\"llama\",\"vocab_size\":20011,\"hidden_size\":32,"
                               "\"intermediate_size\":8,\"num_hidden_layers\":1,"
                               "\"num_attention_heads\":2}";
    char folder[PATH_BYTES];
    loaded a = {0}, b;
    json_t *json = NULL;
    snprintf(folder, sizeof folder, "%s/large", base);
    assert_int_equal(mz_json_parse(&json, text, sizeof text - 1, "test"), MZ_OK);
    assert_int_equal(mz_config_from_json(&a.config, json, "test"), MZ_OK);
    json_decref(json);
    assert_int_equal(mz_device_open(&a.device, "far", NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&a.q, a.device), MZ_OK);
    assert_int_equal(mz_params_list(&a.params, &a.config, MZ_F32), MZ_OK);
    assert_int_equal(mz_params_alloc(&a.params, a.device, false), MZ_OK);
    assert_int_equal(mz_params_init(&a.params, a.q, &a.config, 7), MZ_OK);
    assert_int_equal(mz_hf_save(&a.params, a.q, &a.config, folder, MZ_BF16), MZ_OK);
    loads(&b, "far", folder, MZ_F32);
    same_as_file(&b, folder);
    assert_int_equal(mz_hf_save(&b.params, b.q, &b.config, folder, MZ_BF16), MZ_OK);
    mz_hub_close(b.hub);
    b.hub = NULL;
    assert_int_equal(mz_hub_open(&b.hub, folder), MZ_OK);
    same_as_file(&b, folder); /* bf16 to f32 and back is the same */
    clear(&b);
    clear(&a);
}

static void mtp_is_there_only_with_its_weights(void **state)
{
    (void)state;
    loaded l;
    loads(&l, "ref", "tests/golden/deepseek_v3_mtp", MZ_F32);
    assert_int_equal(l.config.mtp_layers, 1);
    assert_non_null(mz_params_find(&l.params, "model.layers.2.eh_proj.weight"));
    clear(&l);
    mz_config plain;
    assert_int_equal(mz_config_read(&plain, "tests/golden/deepseek_v3/config.json"), MZ_OK);
    assert_int_equal(plain.mtp_layers, 1); /* announced, as transformers does */
    loads(&l, "ref", "tests/golden/deepseek_v3", MZ_F32);
    assert_int_equal(l.config.mtp_layers, 0);
    clear(&l);
}

/* ---- what must be refused ---- */

typedef struct change { /* of a copy of a golden folder's weights */
    const char *skip;   /* leave this tensor out */
    const char *flip;   /* change one number in it */
    const char *flat;   /* give it another shape of as many elements */
    const char *turn;   /* swap its two dims */
    const char *dtype;  /* declare it I32 */
    const char *add;    /* one more tensor [2] */
} change;

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static void declare_changed(mz_st_writer *w, const mz_st_tensor *t, const change *c)
{
    const mz_dtype dtype = is(c->dtype, t->name) ? MZ_I32 : t->dtype;
    const bool flat = is(c->flat, t->name), turned = is(c->turn, t->name);
    const int64_t other[2] = {t->rank == 2 ? t->dim[1] : 0, t->dim[0]};
    assert_int_equal(mz_st_writer_declare(w, t->name, dtype, flat ? 1 : t->rank,
                                          flat     ? &t->count
                                          : turned ? other
                                                   : t->dim),
                     MZ_OK);
}

static void put_changed(mz_st_writer *w, const mz_hub *hub, const mz_st_tensor *to, const change *c)
{
    const mz_st_tensor *t = mz_hub_find(hub, to->name);
    if (!t) {
        assert_int_equal(mz_st_writer_put(w, (const float[2]){1.0f, 2.0f}, to->bytes), MZ_OK);
        return;
    }
    unsigned char *bytes = NULL;
    assert_int_equal(mz_mem_new(&bytes, (int64_t)t->bytes, 1), MZ_OK);
    memcpy(bytes, t->data, t->bytes);
    if (is(c->flip, t->name)) bytes[t->bytes - 1] ^= 1;
    assert_int_equal(mz_st_writer_put(w, bytes, t->bytes), MZ_OK);
    mz_mem_free(bytes);
}

static mz_err load_changed(const char *name, const change *c)
{
    char from[PATH_BYTES], to[PATH_BYTES], path[PATH_BYTES];
    mz_hub *hub = NULL;
    mz_st_writer *w = NULL;
    snprintf(from, sizeof from, "%s/%s", GOLDEN, name);
    snprintf(to, sizeof to, "%s/changed", base);
    assert_int_equal(mz_file_mkdirs(to), MZ_OK);
    assert_int_equal(mz_hub_open(&hub, from), MZ_OK);
    assert_int_equal(mz_path_join(path, sizeof path, to, "config.json"), MZ_OK);
    assert_int_equal(mz_json_write(mz_hub_config(hub), path), MZ_OK);
    assert_int_equal(mz_path_join(path, sizeof path, to, "model.safetensors"), MZ_OK);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    for (int64_t i = 0; i < mz_hub_count(hub); i++)
        if (!is(c->skip, mz_hub_at(hub, i, NULL)->name))
            declare_changed(w, mz_hub_at(hub, i, NULL), c);
    if (c->add)
        assert_int_equal(mz_st_writer_declare(w, c->add, MZ_F32, 1, (const int64_t[]){2}), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_OK);
    for (int64_t i = 0; i < mz_st_writer_count(w); i++)
        put_changed(w, hub, mz_st_writer_at(w, i), c);
    assert_int_equal(mz_st_writer_commit(w), MZ_OK);
    mz_hub_close(hub);
    loaded l;
    mz_err_clear();
    const mz_err err = load(&l, "ref", to, MZ_F32);
    clear(&l);
    return err;
}

static void refuses(const char *name, change c, const char *field)
{
    const mz_err err = load_changed(name, &c);
    if (err != MZ_ECORRUPT || strcmp(mz_err_last()->field, field) != 0)
        fail_msg("%s without %s: %s, field %s: %s", name, field, mz_err_name(err),
                 mz_err_last()->field, mz_err_last()->message);
}

static void takes(const char *name, change c)
{
    if (load_changed(name, &c) != MZ_OK) fail_msg("%s: %s", name, mz_err_last()->message);
}

static void what_does_not_belong_is_refused(void **state)
{
    (void)state;
    static const char q[] = "model.layers.0.self_attn.q_proj.weight", head[] = "lm_head.weight";
    static const char expert[] = "model.layers.1.mlp.experts.3.up_proj.weight";
    refuses("llama", (change){.skip = q}, q);
    refuses("llama", (change){.flat = q}, q);
    refuses("llama", (change){.turn = "lm_head.weight"}, head);
    refuses("llama", (change){.dtype = q}, q);
    refuses("llama", (change){.skip = head}, head);
    refuses("llama", (change){.add = "model.layers.0.self_attn.q_proj.bias"},
            "model.layers.0.self_attn.q_proj.bias");
    refuses("llama", (change){.add = "model.layers.2.x"}, "model.layers.2.x");
    refuses("deepseek_v2", (change){.skip = expert}, expert);
    refuses("llama_tied", (change){.add = head}, head); /* another head than the tied one */
    takes("llama", (change){.add = "model.layers.0.self_attn.rotary_emb.inv_freq"});
    takes("llama", (change){.flip = q});
}

static void mtp_copies_must_be_copies(void **state)
{
    (void)state;
    static const char table[] = "model.layers.2.embed_tokens.weight";
    static const char head[] = "model.layers.2.shared_head.head.weight";
    static const char norm[] = "model.layers.2.shared_head.norm.weight";
    takes("deepseek_v3_mtp", (change){.skip = table});
    takes("deepseek_v3_mtp", (change){.skip = head});
    refuses("deepseek_v3_mtp", (change){.flip = table}, table);
    refuses("deepseek_v3_mtp", (change){.flip = head}, head);
    refuses("deepseek_v3_mtp", (change){.skip = norm}, norm); /* half an MTP layer */
}

static mz_err load_and_save(const char *from, const char *to)
{
    loaded l;
    mz_err err = load(&l, "ref", from, MZ_BF16);
    if (err == MZ_OK) err = mz_hf_save(&l.params, l.q, &l.config, to, MZ_F32);
    clear(&l);
    return err;
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    char to[PATH_BYTES];
    snprintf(to, sizeof to, "%s/allocation", base);
    mz_err err = MZ_EINVAL;
    for (int64_t n = 1; err != MZ_OK; n++) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        err = load_and_save("tests/golden/qwen3_tied", to);
        mz_mem_fail_at(0, false);
        if (err != MZ_OK && err != MZ_ENOMEM)
            fail_msg("allocation %lld: %s", (long long)n, mz_err_last()->message);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 5000);
    }
}

static void every_failed_file_call_is_an_error(void **state)
{
    (void)state;
    char to[PATH_BYTES], weights[PATH_BYTES];
    snprintf(to, sizeof to, "%s/file", base);
    assert_int_equal(mz_path_join(weights, sizeof weights, to, "model.safetensors"), MZ_OK);
    mz_err err = MZ_EINVAL;
    for (int64_t n = 1; err != MZ_OK; n++) {
        mz_file_fail_at(n, ENOSPC, false);
        err = load_and_save("tests/golden/qwen3_tied", to);
        mz_file_fail_at(0, 0, false);
        if (err != MZ_OK && err != MZ_EIO)
            fail_msg("file call %lld: %s", (long long)n, mz_err_last()->message);
        mz_st_file *f = NULL;
        if (mz_file_exists(weights)) { /* then it is whole */
            assert_int_equal(mz_st_open(&f, weights), MZ_OK);
            mz_st_close(f);
        }
        assert_true(n < 5000);
    }
}

/* One bit of a config.json at a time: read or refused, never more than that. */
static void flipped_configs_are_read_or_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"deepseek_v3_mscale", "llama_llama3"};
    for (int k = 0; k < MZ_COUNT(names); k++) {
        char path[PATH_BYTES], *text = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/%s/config.json", GOLDEN, names[k]);
        assert_int_equal(mz_file_read(path, 1 << 16, &text, &bytes), MZ_OK);
        for (size_t i = 0; i < bytes; i++)
            for (int bit = 0; bit < 8; bit += 3) {
                json_t *json = NULL;
                mz_config c;
                text[i] = (char)(text[i] ^ 1 << bit);
                mz_err err = mz_json_parse(&json, text, bytes, "flipped");
                if (err == MZ_OK) err = mz_config_from_json(&c, json, "flipped");
                json_decref(json);
                assert_true(err == MZ_OK || err == MZ_ECORRUPT || err == MZ_ECONFIG);
                text[i] = (char)(text[i] ^ 1 << bit);
            }
        mz_mem_free(text);
    }
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(base)) return -1;
    return mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_cpu_chip()) != MZ_OK ||
           mz_chip_register(mz_far_chip()) != MZ_OK; /* far computes on cpu */
}

static int end(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_folder_goes_round),
        cmocka_unit_test(large_tensors_pass_in_pieces),
        cmocka_unit_test(mtp_is_there_only_with_its_weights),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(mtp_copies_must_be_copies),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(every_failed_file_call_is_an_error),
        cmocka_unit_test(flipped_configs_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
