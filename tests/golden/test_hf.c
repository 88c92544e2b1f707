/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_hf.c - every golden folder is read: its config, the list of its parameters, its
 * weights onto a chip and back to disk; and what does not belong is refused. */
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
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
    assert_int_equal(mz_params_init(&a.params, NULL, a.q, &a.config, 7), MZ_OK);
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

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- shards ---- */

static void shards_hold_what_one_file_holds(void **state)
{
    (void)state;
    char folder[PATH_BYTES], path[PATH_BYTES];
    loaded a, b;
    json_t *index = NULL;
    loads(&a, "ref", "tests/golden/llama", MZ_F32);
    snprintf(folder, sizeof folder, "%.64s/shards", base);
    assert_int_equal(mz_hf_save_shards(&a.params, a.q, &a.config, folder, MZ_F32, 6000), MZ_OK);
    snprintf(path, sizeof path, "%.64s/shards/model.safetensors.index.json", base);
    assert_int_equal(mz_json_read(&index, path, 1 << 20), MZ_OK);
    const char *name;
    json_t *value, *files = json_object();
    int64_t sum = 0;
    json_object_foreach(json_object_get(index, "weight_map"), name, value)
    {
        json_object_set_new(files, json_string_value(value), json_true());
    }
    loads(&b, "far", folder, MZ_F32);
    same_as_file(&b, "tests/golden/llama");
    for (int64_t i = 0; i < mz_hub_count(b.hub); i++)
        sum += (int64_t)mz_hub_at(b.hub, i, NULL)->bytes;
    assert_int_equal(
        sum, json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")));
    json_object_foreach(files, name, value)
    {
        int64_t bytes = 0, n = 0;
        for (int64_t i = 0; i < mz_hub_count(b.hub); i++) {
            const char *file = NULL;
            const mz_st_tensor *t = mz_hub_at(b.hub, i, &file);
            if (strcmp(strrchr(file, '/') + 1, name) == 0) bytes += (int64_t)t->bytes, n++;
        }
        assert_true(bytes <= 6000 || n == 1);
    }
    const size_t count = json_object_size(files);
    snprintf(path, sizeof path, "model-%05d-of-%05d.safetensors", (int)count, (int)count);
    assert_true(count > 3 && json_object_get(files, path));
    clear(&b);
    /* what fits is one file; and an old one is not left in front of new shards */
    snprintf(folder, sizeof folder, "%.64s/whole", base);
    assert_int_equal(mz_hf_save_shards(&a.params, a.q, &a.config, folder, MZ_F32, 1 << 30), MZ_OK);
    snprintf(path, sizeof path, "%.64s/whole/model.safetensors", base);
    assert_true(mz_file_exists(path));
    assert_int_equal(mz_hf_save_shards(&a.params, a.q, &a.config, folder, MZ_F32, 6000), MZ_EIO);
    clear(&a);
    json_decref(files);
    json_decref(index);
}

/* ---- blocks of E4M3 ---- */

typedef struct blocks {
    int64_t rows, cols;   /* of a block */
    bool no_config;       /* quantization_config is left out */
    const char *method;   /* NULL: fp8 */
    const char *no_scale; /* this tensor has none */
    bool narrow;          /* scales have one column less */
} blocks;

static bool in_blocks(const mz_st_tensor *t)
{
    return t->rank == 2 && strstr(t->name, "_proj.weight") && !strstr(t->name, "v_proj");
}

static mz_dtype scale_dtype(const mz_st_tensor *t)
{
    return strstr(t->name, "o_proj") ? MZ_F8_E8M0 : MZ_F32;
}

static float number_at(const mz_st_tensor *t, int64_t i)
{
    float x;
    memcpy(&x, (const char *)t->data + 4 * i, 4);
    return x;
}

/* Any scale will do: one that makes the largest of a block fit, or a power of two. */
static double scale_of(const mz_st_tensor *t, const blocks *b, int64_t row, int64_t col)
{
    const int64_t block = row / b->rows * 7 + col / b->cols;
    return scale_dtype(t) == MZ_F8_E8M0 ? ldexp(1.0, -(int)(block % 5) - 3)
                                        : 0.001 * (double)(1 + block % 11);
}

static void put_scales(mz_st_writer *w, const mz_st_tensor *t, const blocks *b, int64_t down,
                       int64_t across)
{
    for (int64_t i = 0; i < down * across; i++) {
        const float s = (float)scale_of(t, b, i / across * b->rows, i % across * b->cols);
        const unsigned char power = (unsigned char)(127 + ilogb((double)s));
        const bool is_power = scale_dtype(t) == MZ_F8_E8M0;
        assert_int_equal(mz_st_writer_put(w, is_power ? (const void *)&power : (const void *)&s,
                                          is_power ? 1 : 4),
                         MZ_OK);
    }
}

static void put_blocks(mz_st_writer *w, const mz_st_tensor *t, const blocks *b)
{
    for (int64_t i = 0; i < t->count; i++) {
        const double s = (double)(float)scale_of(t, b, i / t->dim[1], i % t->dim[1]);
        const uint8_t byte = mz_f32_to_e4m3((float)((double)number_at(t, i) / s));
        assert_int_equal(mz_st_writer_put(w, &byte, 1), MZ_OK);
    }
}

/* The name of the tensor whose scales these are. */
static const mz_st_tensor *scaled(const mz_hub *hub, const char *name)
{
    char plain[160];
    const size_t n = strlen(name), m = strlen("_scale_inv");
    if (n <= m || strcmp(name + n - m, "_scale_inv") != 0) return NULL;
    snprintf(plain, sizeof plain, "%.*s", (int)(n - m), name);
    return mz_hub_find(hub, plain);
}

static mz_err write_blocks(const mz_hub *hub, const char *to, const blocks *b)
{
    char path[PATH_BYTES], name[160];
    mz_st_writer *w = NULL;
    json_t *config = json_deep_copy(mz_hub_config(hub));
    assert_int_equal(mz_file_mkdirs(to), MZ_OK);
    if (!b->no_config)
        json_object_set_new(
            config, "quantization_config",
            json_pack("{s:s, s:s, s:[I,I]}", "quant_method", b->method ? b->method : "fp8", "fmt",
                      "e4m3", "weight_block_size", (json_int_t)b->rows, (json_int_t)b->cols));
    assert_int_equal(mz_path_join(path, sizeof path, to, "config.json"), MZ_OK);
    assert_int_equal(mz_json_write(config, path), MZ_OK);
    json_decref(config);
    assert_int_equal(mz_path_join(path, sizeof path, to, "model.safetensors"), MZ_OK);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    for (int64_t i = 0; i < mz_hub_count(hub); i++) {
        const mz_st_tensor *t = mz_hub_at(hub, i, NULL);
        const mz_dtype dtype = in_blocks(t) ? MZ_F8_E4M3 : t->dtype;
        assert_int_equal(mz_st_writer_declare(w, t->name, dtype, t->rank, t->dim), MZ_OK);
        if (!in_blocks(t) || is(b->no_scale, t->name)) continue;
        snprintf(name, sizeof name, "%s_scale_inv", t->name);
        const int64_t dim[2] = {(t->dim[0] + b->rows - 1) / b->rows,
                                (t->dim[1] + b->cols - 1) / b->cols - b->narrow};
        assert_int_equal(mz_st_writer_declare(w, name, scale_dtype(t), 2, dim), MZ_OK);
    }
    assert_int_equal(mz_st_writer_begin(w), MZ_OK);
    for (int64_t i = 0; i < mz_st_writer_count(w); i++) {
        const mz_st_tensor *out = mz_st_writer_at(w, i), *t = mz_hub_find(hub, out->name);
        if (!t)
            put_scales(w, scaled(hub, out->name), b, out->dim[0], out->dim[1]);
        else if (in_blocks(t))
            put_blocks(w, t, b);
        else
            assert_int_equal(mz_st_writer_put(w, t->data, t->bytes), MZ_OK);
    }
    return mz_st_writer_commit(w);
}

static mz_err load_blocks(loaded *l, const blocks *b)
{
    char to[PATH_BYTES];
    mz_hub *hub = NULL;
    snprintf(to, sizeof to, "%.64s/blocks", base);
    assert_int_equal(mz_hub_open(&hub, "tests/golden/deepseek_v3"), MZ_OK);
    assert_int_equal(write_blocks(hub, to, b), MZ_OK);
    mz_hub_close(hub);
    mz_err_clear();
    return load(l, "far", to, MZ_F32);
}

/* Every number is byte times scale, rounded to f32, with blocks that do not fill the last ones. */
static void blocks_of_e4m3_are_multiplied(void **state)
{
    (void)state;
    static const blocks sizes[] = {
        {.rows = 5, .cols = 7}, {.rows = 128, .cols = 128}, {.rows = 1, .cols = 16}};
    for (int k = 0; k < MZ_COUNT(sizes); k++) {
        loaded l;
        int seen = 0;
        if (load_blocks(&l, &sizes[k]) != MZ_OK) fail_msg("%s", mz_err_last()->message);
        for (int64_t i = 0; i < l.params.n; i++) {
            const mz_param *p = &l.params.list[i];
            char name[160];
            float got[4096];
            const mz_tensor view = mz_param_disk_view(p, &p->w, 0);
            assert_int_equal(mz_param_disk_name(p, 0, name, sizeof name), MZ_OK);
            const mz_st_tensor *t = mz_hub_find(l.hub, name);
            if (t->dtype != MZ_F8_E4M3) continue;
            assert_true(mz_count(&view) <= 4096);
            assert_int_equal(mz_download(l.q, got, &view), MZ_OK);
            assert_int_equal(mz_queue_sync(l.q), MZ_OK);
            for (int64_t e = 0; e < t->count; e++) {
                const double byte = (double)mz_e4m3_to_f32(((const uint8_t *)t->data)[e]);
                const double s = scale_of(t, &sizes[k], e / t->dim[1], e % t->dim[1]);
                const float want = (float)(byte * (double)(float)s);
                if (memcmp(&want, &got[e], 4) != 0) fail_msg("%s at %lld", name, (long long)e);
            }
            seen++;
        }
        assert_true(seen > 10);
        clear(&l);
    }
}

static void blocks_without_a_scale_are_refused(void **state)
{
    (void)state;
    static const char o[] = "model.layers.0.self_attn.o_proj.weight";
    static const struct {
        blocks blocks;
        mz_err err;
        const char *field;
    } wrong[] = {
        {{.rows = 8, .cols = 8, .no_scale = o}, MZ_ECORRUPT, "_scale_inv"},
        {{.rows = 8, .cols = 8, .narrow = true}, MZ_ECORRUPT, "_scale_inv"},
        {{.rows = 8, .cols = 8, .no_config = true}, MZ_ECORRUPT, "_scale_inv"},
        {{.rows = 8, .cols = 8, .method = "gptq"}, MZ_ECONFIG, "quantization_config.quant_method"},
    };
    for (int i = 0; i < MZ_COUNT(wrong); i++) {
        loaded l;
        const mz_err err = load_blocks(&l, &wrong[i].blocks);
        if (err != wrong[i].err || !strstr(mz_err_last()->field, wrong[i].field))
            fail_msg("%d: %s, %s: %s", i, mz_err_name(err), mz_err_last()->field,
                     mz_err_last()->message);
        clear(&l);
    }
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

/* transformers has moe_layer_freq in config.json, and experts in every layer. */
static void experts_lie_where_their_weights_are(void **state)
{
    (void)state;
    mz_hub *hub = NULL;
    mz_config c;
    char to[PATH_BYTES], path[PATH_BYTES];
    char *weights = NULL;
    size_t bytes = 0;
    json_t *json = NULL;
    const char *from = "tests/golden/deepseek_v3";
    assert_int_equal(mz_path_join(to, sizeof to, base, "freq"), MZ_OK);
    assert_int_equal(mz_file_mkdirs(to), MZ_OK);
    assert_int_equal(mz_path_join(path, sizeof path, from, "config.json"), MZ_OK);
    assert_int_equal(mz_json_read(&json, path, 1 << 20), MZ_OK);
    assert_int_equal(json_object_set_new(json, "moe_layer_freq", json_integer(2)), 0);
    assert_int_equal(mz_path_join(path, sizeof path, to, "config.json"), MZ_OK);
    assert_int_equal(mz_json_write(json, path), MZ_OK);
    assert_int_equal(mz_config_from_json(&c, json, path), MZ_OK);
    assert_false(mz_config_layer_is_moe(&c, 1));
    assert_int_equal(mz_path_join(path, sizeof path, from, "model.safetensors"), MZ_OK);
    assert_int_equal(mz_file_read(path, 1 << 24, &weights, &bytes), MZ_OK);
    assert_int_equal(mz_path_join(path, sizeof path, to, "model.safetensors"), MZ_OK);
    assert_int_equal(mz_file_write(path, weights, bytes), MZ_OK);
    assert_int_equal(mz_hub_open(&hub, to), MZ_OK);
    assert_int_equal(mz_hf_config(&c, hub), MZ_OK);
    assert_true(mz_config_layer_is_moe(&c, 1) && mz_config_layer_is_moe(&c, 2));
    mz_hub_close(hub);
    mz_mem_free(weights);
    json_decref(json);
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
        cmocka_unit_test(shards_hold_what_one_file_holds),
        cmocka_unit_test(blocks_of_e4m3_are_multiplied),
        cmocka_unit_test(blocks_without_a_scale_are_refused),
        cmocka_unit_test(mtp_is_there_only_with_its_weights),
        cmocka_unit_test(experts_lie_where_their_weights_are),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(mtp_copies_must_be_copies),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(every_failed_file_call_is_an_error),
        cmocka_unit_test(flipped_configs_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
