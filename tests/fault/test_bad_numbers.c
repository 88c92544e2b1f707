/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_bad_numbers.c - numbers that are none in weights (case G18), and vocabularies of
 * a GGUF that contradict themselves (G15). */
#include "tests/fault/bad.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/torn.h"
#include "chips/ref/ref.h"
#include "file/gguf.h"
#include "port/gguf_text.h"
#include "port/source.h"
#include "tensor/finite.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- finite.h against the conversion of every element ---- */

static void every_pattern_is_judged(void **state)
{
    (void)state;
    enum { N = 600 }; /* more than a block of words, and a rest */
    static const mz_dtype small[] = {MZ_F16, MZ_BF16, MZ_F8_E4M3, MZ_F8_E5M2, MZ_F8_E8M0};
    unsigned char room[2 * N + 1];
    for (int d = 0; d < MZ_COUNT(small); d++) {
        const size_t bytes = mz_dtype_bytes(small[d]);
        for (uint32_t bits = 0; bits < 1u << 8 * bytes; bits++) {
            const float x = small[d] == MZ_F16       ? mz_f16_to_f32((uint16_t)bits)
                            : small[d] == MZ_BF16    ? mz_bf16_to_f32((uint16_t)bits)
                            : small[d] == MZ_F8_E4M3 ? mz_e4m3_to_f32((uint8_t)bits)
                            : small[d] == MZ_F8_E5M2 ? mz_e5m2_to_f32((uint8_t)bits)
                                                     : mz_e8m0_to_f32((uint8_t)bits);
            const int64_t at = (int64_t)(bits * 7919u % N);
            memset(room, 0x3c, sizeof room);
            for (size_t i = 0; i < bytes; i++)
                room[1 + (size_t)at * bytes + i] = (unsigned char)(bits >> 8 * i);
            const int64_t want = isfinite(x) ? -1 : at;
            if (mz_first_not_finite(room + 1, small[d], N) != want)
                fail_msg("%s %#x", mz_dtype_name(small[d]), bits);
        }
    }
}

static void wide_numbers_are_judged(void **state)
{
    (void)state;
    enum { N = 300 };
    float f[N];
    double d[N];
    static const double none[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int i = 0; i < N; i++) f[i] = (float)(i - 7) * 3e36f, d[i] = (double)(i - 7) * 1e300;
    assert_int_equal(mz_first_not_finite(f, MZ_F32, 110), -1);
    assert_int_equal(mz_first_not_finite(d, MZ_F64, N), -1);
    for (int i = 0; i < N; i++) f[i] = 1.0f;
    for (int at = 0; at < N; at++)
        for (int k = 0; k < MZ_COUNT(none); k++) {
            f[at] = (float)none[k];
            d[at] = none[k];
            assert_int_equal(mz_first_not_finite(f, MZ_F32, N), at);
            assert_int_equal(mz_first_not_finite(d, MZ_F64, N), at);
            assert_int_equal(mz_first_not_finite(f, MZ_F32, at), -1);
            f[at] = 1.0f;
            d[at] = 1.0;
        }
    assert_int_equal(mz_first_not_finite(f, MZ_I32, N), -1);
    assert_int_equal(mz_first_not_finite(NULL, MZ_F32, 0), -1);
}

/* ---- weights ---- */

typedef struct loading {
    mz_device *device;
    mz_queue *q;
    mz_source *source;
    mz_params params;
} loading;

static mz_err begin_loading(loading *l, const char *folder)
{
    MZ_TRY(mz_device_open(&l->device, "ref", NULL));
    MZ_TRY(mz_queue_open(&l->q, l->device));
    MZ_TRY(mz_source_open(&l->source, folder));
    MZ_TRY(mz_params_list(&l->params, mz_source_config(l->source), MZ_F32));
    return mz_params_alloc(&l->params, l->device, false);
}

static void end_loading(loading *l)
{
    mz_params_clear(&l->params);
    mz_source_close(l->source);
    mz_queue_close(l->q);
    mz_device_close(l->device);
}

static mz_err load_folder(const char *folder)
{
    loading l = {0};
    mz_err err = begin_loading(&l, folder);
    if (err == MZ_OK) err = mz_source_load(l.source, &l.params, l.q);
    end_loading(&l);
    return err;
}

/* A golden network with `value` in the last number of its first tensor. */
static void spoil_golden(const char *name, float value, char tensor[128], int64_t *offset)
{
    char path[256], *config = NULL, *weights = NULL;
    size_t config_bytes = 0, bytes = 0;
    mz_st_file *file = NULL;
    (void)snprintf(path, sizeof path, "tests/golden/%s/config.json", name);
    assert_int_equal(mz_file_read(path, 1 << 24, &config, &config_bytes), MZ_OK);
    (void)snprintf(path, sizeof path, "tests/golden/%s/model.safetensors", name);
    assert_int_equal(mz_file_read(path, 1 << 24, &weights, &bytes), MZ_OK);
    assert_int_equal(mz_st_open(&file, path), MZ_OK);
    const mz_st_tensor *t = mz_st_at(file, 0);
    const size_t size = mz_dtype_bytes(t->dtype);
    assert_true(t->dtype == MZ_F32 || t->dtype == MZ_F64);
    *offset = (int64_t)(t->offset + t->bytes - size);
    (void)snprintf(tensor, 128, "%s", t->name);
    const double wide = (double)value;
    memcpy(weights + *offset, size == 4 ? (const void *)&value : (const void *)&wide, size);
    mz_st_close(file);
    bad_put_bytes("config.json", config, config_bytes);
    bad_put_bytes("model.safetensors", weights, bytes);
    mz_mem_free(weights);
    mz_mem_free(config);
}

static void weights_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "qwen3", "deepseek_v3"};
    char tensor[128];
    int64_t offset = 0;
    for (int i = 0; i < MZ_COUNT(names); i++) {
        spoil_golden(names[i], 0.5f, tensor, &offset);
        assert_int_equal(load_folder(bad_folder()), MZ_OK);
        for (int k = 0; k < 2; k++) {
            spoil_golden(names[i], k == 0 ? NAN : -INFINITY, tensor, &offset);
            const size_t before = mz_mem_bytes_used();
            assert_int_equal(load_folder(bad_folder()), MZ_ECORRUPT);
            assert_int_equal(mz_mem_bytes_used(), before);
            assert_string_equal(mz_err_last()->field, tensor);
            assert_int_equal(mz_err_last()->offset, offset);
            assert_non_null(strstr(mz_err_last()->message, "is not finite"));
            assert_non_null(strstr(mz_err_last()->file, "model.safetensors"));
        }
    }
}

/* G17: the weights become shorter between opening and loading. */
static void weights_that_become_shorter_are_an_error(void **state)
{
    (void)state;
    char tensor[128], path[256];
    int64_t offset = 0;
    loading l = {0};
    spoil_golden("llama", 0.5f, tensor, &offset);
    assert_int_equal(mz_torn_guard(), MZ_OK);
    assert_int_equal(begin_loading(&l, bad_folder()), MZ_OK);
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "model.safetensors"), MZ_OK);
    assert_int_equal(truncate(path, 100), 0);
    const mz_err err = mz_source_load(l.source, &l.params, l.q);
    assert_true(err == MZ_EIO || err == MZ_ECORRUPT); /* zeros may be refused first */
    if (err == MZ_EIO) assert_non_null(strstr(mz_err_last()->message, "changed while"));
    end_loading(&l);
}

/* ---- vocabularies ---- */

typedef struct change {
    const char *key; /* written otherwise, or left out */
    enum { GONE, NUMBER, REAL, FLAG, TEXT, TEXTS, INTS, REALS, TYPES } kind;
    int64_t number; /* or how many of `texts` */
    const char *texts[5];
    const char *says; /* in the message; NULL: the file is good */
    mz_err code;
} change;

static void put_changed(mz_gguf_writer *w, const change *c)
{
    const float reals[5] = {0.0f, NAN, 0.0f, 0.0f, 0.0f};
    const int32_t ints[5] = {1, 1, 1, 1, 3};
    mz_err err = MZ_OK;
    if (c->kind == NUMBER) err = mz_gguf_writer_u32(w, c->key, c->number);
    if (c->kind == REAL) err = mz_gguf_writer_f32(w, c->key, 1.0);
    if (c->kind == FLAG) err = mz_gguf_writer_bool(w, c->key, true);
    if (c->kind == TEXT) err = mz_gguf_writer_text(w, c->key, c->texts[0]);
    if (c->kind == TEXTS) err = mz_gguf_writer_texts(w, c->key, c->number, c->texts, NULL);
    if (c->kind == INTS) err = mz_gguf_writer_array(w, c->key, MZ_GGUF_I32, c->number, ints);
    const int32_t types[5] = {1, 1, 1, 1, (int32_t)c->number};
    if (c->kind == TYPES) err = mz_gguf_writer_array(w, c->key, MZ_GGUF_I32, 5, types);
    if (c->kind == REALS) err = mz_gguf_writer_array(w, c->key, MZ_GGUF_F32, c->number, reals);
    assert_int_equal(err, MZ_OK);
}

static const change GOOD[] = {
    {"tokenizer.ggml.model", TEXT, 0, {"gpt2"}, NULL, MZ_OK},
    {"tokenizer.ggml.pre", TEXT, 0, {"smollm"}, NULL, MZ_OK},
    {"tokenizer.ggml.tokens", TEXTS, 5, {"a", "b", "c", "ab", "<s>"}, NULL, MZ_OK},
    {"tokenizer.ggml.token_type", INTS, 5, {NULL}, NULL, MZ_OK},
    {"tokenizer.ggml.merges", TEXTS, 1, {"a b"}, NULL, MZ_OK},
    {"tokenizer.ggml.bos_token_id", NUMBER, 4, {NULL}, NULL, MZ_OK},
    {"tokenizer.ggml.eos_token_id", NUMBER, 4, {NULL}, NULL, MZ_OK},
};

static const change BAD[] = {
    {"none", NUMBER, 1, {NULL}, NULL, MZ_OK},
    {"tokenizer.ggml.model", GONE, 0, {NULL}, "has no", MZ_ENOTSUP},
    {"tokenizer.ggml.model", TEXT, 0, {"llama"}, "no byte-level BPE", MZ_ENOTSUP},
    {"tokenizer.ggml.model", NUMBER, 1, {NULL}, "no byte-level BPE", MZ_ENOTSUP},
    {"tokenizer.ggml.pre", GONE, 0, {NULL}, "has no", MZ_ENOTSUP},
    {"tokenizer.ggml.pre", TEXT, 0, {"chameleon"}, "chameleon", MZ_ENOTSUP},
    {"tokenizer.ggml.tokens", GONE, 0, {NULL}, "has no", MZ_ENOTSUP},
    {"tokenizer.ggml.tokens", NUMBER, 1, {NULL}, "no array of texts", MZ_ECORRUPT},
    {"tokenizer.ggml.tokens", INTS, 5, {NULL}, "no array of texts", MZ_ECORRUPT},
    {"tokenizer.ggml.tokens", TEXTS, 0, {NULL}, "empty", MZ_ECORRUPT},
    {"tokenizer.ggml.tokens", TEXTS, 4, {"a", "b", "c", "ab"}, "as long as", MZ_ECORRUPT},
    {"tokenizer.ggml.tokens", TEXTS, 5, {"a", "b", "c", "a", "<s>"}, "stands twice", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", INTS, 4, {NULL}, "as long as", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", NUMBER, 1, {NULL}, "as long as", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", REALS, 5, {NULL}, "whole numbers", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", TYPES, 7, {NULL}, "a type that is none", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", TYPES, -1, {NULL}, "a type that is none", MZ_ECORRUPT},
    {"tokenizer.ggml.token_type", TYPES, 6, {NULL}, NULL, MZ_OK},
    {"tokenizer.ggml.unknown_token_id", NUMBER, 5, {NULL}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.merges", GONE, 0, {NULL}, "has no", MZ_ENOTSUP},
    {"tokenizer.ggml.merges", NUMBER, 1, {NULL}, "no array of texts", MZ_ECORRUPT},
    {"tokenizer.ggml.merges", TEXTS, 2, {"a b", "ab"}, "without a space", MZ_ECORRUPT},
    {"tokenizer.ggml.merges", TEXTS, 2, {"a b", "a x"}, "no token", MZ_ECORRUPT},
    {"tokenizer.ggml.merges", TEXTS, 2, {"a b", "b c"}, "no token", MZ_ECORRUPT},
    {"tokenizer.ggml.merges", TEXTS, 1, {"a \xe4\xb8\xad"}, "alphabet", MZ_ECORRUPT},
    {"tokenizer.ggml.bos_token_id", NUMBER, 5, {NULL}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.bos_token_id", NUMBER, 4294967295, {NULL}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.bos_token_id", TEXT, 0, {"<s>"}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.eos_token_id", REAL, 0, {NULL}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.eot_token_id", NUMBER, 9, {NULL}, "no token of", MZ_ECORRUPT},
    {"tokenizer.ggml.add_bos_token", NUMBER, 1, {NULL}, "no bool", MZ_ECORRUPT},
    {"tokenizer.ggml.scores", REALS, 4, {NULL}, "as long as", MZ_ECORRUPT},
    {"tokenizer.ggml.scores", REALS, 5, {NULL}, "no finite number", MZ_ECORRUPT},
};

static mz_err open_changed(const change *c, mz_gguf **file)
{
    char path[256];
    mz_gguf_writer *w = NULL;
    mz_tokenizer *t = NULL;
    bool replaced = false;
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "v.gguf"), MZ_OK);
    assert_int_equal(mz_gguf_writer_new(&w, path), MZ_OK);
    for (int i = 0; i < MZ_COUNT(GOOD); i++) {
        const bool same = strcmp(GOOD[i].key, c->key) == 0;
        put_changed(w, same ? c : &GOOD[i]);
        replaced = replaced || same;
    }
    if (!replaced) put_changed(w, c);
    /* the writer asks for a tensor or a vocabulary; a file without either is another test's */
    assert_int_equal(mz_gguf_writer_declare(w, "x", MZ_GGML_F32, 1, (const int64_t[]){1}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    assert_int_equal(mz_gguf_writer_put(w, "\0\0\0\0", 4), MZ_OK);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_OK);
    assert_int_equal(mz_gguf_open(file, path), MZ_OK);
    mz_err_clear();
    const mz_err err = mz_gguf_to_tokenizer(&t, *file);
    mz_tokenizer_free(t);
    return err;
}

static void vocabularies_that_contradict_themselves(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(BAD); i++) {
        const change *c = &BAD[i];
        mz_gguf *file = NULL;
        const mz_err err = open_changed(c, &file);
        const mz_err_info *info = mz_err_last();
        const mz_gguf_key *key = mz_gguf_key_find(file, info->field);
        bool good = err == c->code && (!c->says || strstr(info->message, c->says));
        if (err == MZ_ECORRUPT || (err == MZ_ENOTSUP && key))
            good = good && key && info->offset >= (int64_t)key->offset &&
                   info->offset <= (int64_t)(key->offset + key->bytes);
        if (!good)
            fail_msg("%d %s: %s: %s, field %s, byte %lld", i, c->key, mz_err_name(err),
                     info->message, info->field, (long long)info->offset);
        mz_gguf_close(file);
    }
}

static void vocabularies_without_memory(void **state)
{
    (void)state;
    mz_gguf *file = NULL;
    assert_int_equal(open_changed(&BAD[0], &file), MZ_OK);
    mz_gguf_close(file);
    char path[256];
    assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), "v.gguf"), MZ_OK);
    for (int64_t n = 1;; n++) {
        mz_tokenizer *t = NULL;
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        mz_err err = mz_gguf_open(&file, path);
        if (err == MZ_OK) {
            err = mz_gguf_to_tokenizer(&t, file);
            mz_gguf_close(file);
        }
        mz_tokenizer_free(t);
        const bool failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_int_equal(err, failed ? MZ_ENOMEM : MZ_OK);
        if (!failed) break;
        assert_true(n < 1000);
    }
}

static int set_up(void **state)
{
    return mz_chip_register(&mz_chip_ref) == MZ_OK ? bad_make_folder(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_is_judged),
        cmocka_unit_test(wide_numbers_are_judged),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused),
        cmocka_unit_test(weights_that_become_shorter_are_an_error),
        cmocka_unit_test(vocabularies_that_contradict_themselves),
        cmocka_unit_test(vocabularies_without_memory),
    };
    return cmocka_run_group_tests(tests, set_up, bad_drop_folder);
}
