/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_verify.c - `mizan verify` finds what is wrong: a number, a checksum of a
 * checkpoint, of token shards, of a file in a hub cache. */
#include "tests/e2e/program.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "file/safetensors.h"
#include "file/shards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int verify(const char *name)
{
    return program_run((const char *[]){"verify", program_path(name), "--json", NULL});
}

static void copy_golden(const char *name, const char *to, const char *as)
{
    char from[PATH_BYTES], *bytes = NULL, path[PATH_BYTES];
    size_t n = 0;
    (void)snprintf(from, sizeof from, "%s/tests/golden/llama/%s", program_root(), name);
    (void)snprintf(path, sizeof path, "%s/%s", program_path(to), as);
    assert_int_equal(mz_file_read(from, 1 << 24, &bytes, &n), MZ_OK);
    assert_int_equal(mz_file_mkdirs(program_path(to)), MZ_OK);
    assert_int_equal(mz_file_write(path, bytes, n), MZ_OK);
    mz_mem_free(bytes);
}

/* Changes the last `n` bytes of a file. */
static void spoil(const char *name, const void *with, size_t n)
{
    FILE *f = fopen(program_path(name), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -(long)n, SEEK_END), 0);
    assert_int_equal(fwrite(with, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void says(const char *format, int64_t checksums)
{
    json_t *o = program_json();
    assert_string_equal(json_string_value(json_object_get(o, "format")), format);
    assert_int_equal(json_integer_value(json_object_get(o, "checksums")), checksums);
    json_decref(o);
}

static void numbers(void **state)
{
    (void)state;
    const unsigned char nan[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    copy_golden("config.json", "m", "config.json");
    copy_golden("model.safetensors", "m", "model.safetensors");
    assert_int_equal(verify("m"), 0);
    says("hf", 0);
    spoil("m/model.safetensors", nan, sizeof nan);
    assert_int_equal(verify("m"), 76);
    assert_non_null(strstr(program_text("err"), "\"offset\":"));
    assert_int_equal(verify("m/model.safetensors"), 76);
}

static void checkpoint(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                        "state.json", "train.yaml"};
    mz_str manifest = {0};
    const char *folder = "r/checkpoints/step-00000001";
    char path[PATH_BYTES], sum[MZ_SHA256_HEX];
    copy_golden("config.json", folder, names[0]);
    copy_golden("model.safetensors", folder, names[1]);
    copy_golden("model.safetensors", folder, names[2]);
    copy_golden("config.json", folder, names[3]);
    copy_golden("config.json", folder, names[4]);
    assert_int_equal(mz_str_addf(&manifest, "{\"schema\":1,\"step\":1,\"files\":["), MZ_OK);
    for (int i = 0; i < 5; i++) {
        size_t bytes = 0;
        (void)snprintf(path, sizeof path, "%s/%s", program_path(folder), names[i]);
        assert_int_equal(mz_sha256_file(sum, path, &bytes), MZ_OK);
        assert_int_equal(mz_str_addf(&manifest,
                                     "%s{\"name\":\"%s\",\"bytes\":%zu,\"sha256\":\"%s\"}",
                                     i ? "," : "", names[i], bytes, sum),
                         MZ_OK);
    }
    assert_int_equal(mz_str_addf(&manifest, "]}"), MZ_OK);
    (void)snprintf(path, sizeof path, "%s/manifest.json", program_path(folder));
    assert_int_equal(mz_file_write(path, manifest.text, manifest.len), MZ_OK);
    mz_str_clear(&manifest);
    assert_int_equal(verify(folder), 0);
    says("checkpoint", 5);
    assert_int_equal(verify("r"), 0);
    says("run", 5);
    spoil("r/checkpoints/step-00000001/state.json", "x", 1);
    assert_int_equal(verify(folder), 76);
    assert_int_equal(verify("r"), 76);
    assert_non_null(strstr(program_text("err"), "state.json"));
}

static void tokens(void **state)
{
    (void)state;
    mz_shards_writer *w = NULL;
    int32_t ids[100];
    for (int i = 0; i < 100; i++) ids[i] = i;
    const mz_shards_options o = {.folder = program_path("t"),
                                 .vocab = 128,
                                 .shard_ids = 1000,
                                 .bos = -1,
                                 .eos = -1,
                                 .made_by = "test"};
    assert_int_equal(mz_shards_writer_new(&w, &o), MZ_OK);
    assert_int_equal(mz_shards_writer_put(w, MZ_PART_TRAIN, ids, 100), MZ_OK);
    assert_int_equal(mz_shards_writer_commit(w, 100), MZ_OK);
    assert_int_equal(verify("t"), 0);
    says("tokens", 2);
    FILE *f = fopen(program_path("t/train-00000.tokens"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 70, SEEK_SET), 0);
    assert_int_equal(fputc(0x55, f), 0x55);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(verify("t"), 76);
}

static void hub_cache(void **state)
{
    (void)state;
    char from[PATH_BYTES], sum[MZ_SHA256_HEX], target[PATH_BYTES], blob[PATH_BYTES];
    (void)snprintf(from, sizeof from, "%s/tests/golden/llama/model.safetensors", program_root());
    assert_int_equal(mz_sha256_file(sum, from, NULL), MZ_OK);
    copy_golden("model.safetensors", "c/blobs", sum);
    copy_golden("config.json", "c/snapshots/1", "config.json");
    (void)snprintf(target, sizeof target, "../../blobs/%s", sum);
    assert_int_equal(symlink(target, program_path("c/snapshots/1/model.safetensors")), 0);
    assert_int_equal(verify("c/snapshots/1"), 0);
    says("hf", 1);
    (void)snprintf(blob, sizeof blob, "c/blobs/%s", sum);
    spoil(blob, "\x3e", 1); /* a finite number */
    assert_int_equal(verify("c/snapshots/1"), 76);
    assert_non_null(strstr(program_text("err"), "checksum"));
}

/* Nothing that a folder's links lead to outside of it is read, and so nothing is copied. */
static void links(void **state)
{
    (void)state;
    static const char *const names[] = {"generation_config.json", "tokenizer_config.json",
                                        "chat_template.jinja", "tokenizer.json"};
    copy_golden("config.json", "l", "config.json");
    copy_golden("model.safetensors", "l", "model.safetensors");
    for (int i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "l/%s", names[i]);
        assert_int_equal(symlink("/etc/passwd", program_path(name)), 0);
        assert_int_equal(
            program_run((const char *[]){"convert", program_path("l"), program_path("out-of-l"),
                                         "--to", "hf", NULL}),
            76);
        assert_non_null(strstr(program_text("err"), "leaves the folder"));
        assert_int_equal(unlink(program_path(name)), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),   cmocka_unit_test(checkpoint), cmocka_unit_test(tokens),
        cmocka_unit_test(hub_cache), cmocka_unit_test(links),
    };
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
