/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_hub.c - a Hugging Face folder: one file, shards, and every way to leave it. */
#include "base/file.h"
#include "base/mem.h"
#include "file/hub.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 256 };

static char base[] = "/tmp/mz_hub_XXXXXX";
static char folder[PATH_BYTES];

static void in(char out[PATH_BYTES], const char *name)
{
    assert_int_equal(mz_path_join(out, PATH_BYTES, folder, name), MZ_OK);
}

static void write_text(const char *name, const char *text)
{
    char path[PATH_BYTES];
    in(path, name);
    assert_int_equal(mz_file_write(path, text, strlen(text)), MZ_OK);
}

/* A file with tensors of the names in `names`, space-separated, two F32 each. */
static void write_shard(const char *name, const char *names)
{
    char path[PATH_BYTES], list[128];
    mz_st_writer *w = NULL;
    in(path, name);
    snprintf(list, sizeof list, "%s", names);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    char *rest = list;
    for (char *one; (one = strtok_r(rest, " ", &rest));)
        assert_int_equal(mz_st_writer_declare(w, one, MZ_F32, 1, (const int64_t[]){2}), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_OK);
    for (int64_t i = 0; i < mz_st_writer_count(w); i++) {
        const float x[2] = {(float)mz_st_writer_at(w, i)->name[0], 1.0f};
        assert_int_equal(mz_st_writer_put(w, x, sizeof x), MZ_OK);
    }
    assert_int_equal(mz_st_writer_commit(w), MZ_OK);
}

static void make_folder(const char *name)
{
    char path[PATH_BYTES];
    in(path, name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/%s", base, "model");
    return mkdir(folder, 0777);
}

/* The test's own folder, a few levels deep at most. */
static void empty(const char *path)
{
    char command[PATH_BYTES + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/model", base);
    empty(path);
    return 0;
}

static int make_base(void **state)
{
    (void)state;
    return mkdtemp(base) ? 0 : -1;
}

static int drop_base(void **state)
{
    (void)state;
    empty(base);
    return 0;
}

static mz_err open_and_close(void)
{
    mz_hub *hub = NULL;
    mz_err_clear();
    const mz_err err = mz_hub_open(&hub, folder);
    mz_hub_close(hub);
    return err;
}

/* Expects a refusal whose note holds these words. */
static void refused(mz_err code, const char *field, const char *says)
{
    const mz_err err = open_and_close();
    const mz_err_info *info = mz_err_last();
    if (err != code || strcmp(info->field, field) != 0 || !strstr(info->message, says))
        fail_msg("%s, field %s: %s; want %s, %s, %s", mz_err_name(err), info->field, info->message,
                 mz_err_name(code), field, says);
}

static void index_with(const char *map)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":1},\"weight_map\":{%s}}", map);
    for (char *p = text; *p; p++)
        if (*p == '\'') *p = '"';
    write_text("model.safetensors.index.json", text);
}

static void one_file(void **state)
{
    (void)state;
    mz_hub *hub = NULL;
    write_text("config.json", "{\"model_type\":\"llama\"}");
    write_shard("model.safetensors", "b a");
    index_with("'a':'nowhere'"); /* transformers does not look at it either */
    assert_int_equal(mz_hub_open(&hub, folder), MZ_OK);
    assert_int_equal(mz_hub_count(hub), 2);
    assert_string_equal(json_string_value(json_object_get(mz_hub_config(hub), "model_type")),
                        "llama");
    const char *file = NULL;
    assert_string_equal(mz_hub_at(hub, 0, &file)->name, "a");
    assert_string_equal(file + strlen(folder), "/model.safetensors");
    assert_string_equal(mz_hub_find(hub, "b")->name, "b");
    assert_null(mz_hub_find(hub, "c"));
    assert_null(mz_hub_at(hub, 2, NULL));
    mz_hub_close(hub);
}

static void shards(void **state)
{
    (void)state;
    mz_hub *hub = NULL;
    write_text("config.json", "{}");
    make_folder("more");
    write_shard("model-00001-of-00002.safetensors", "a c");
    write_shard("more/model-00002-of-00002.safetensors", "b");
    index_with("'a':'model-00001-of-00002.safetensors','c':'model-00001-of-00002.safetensors',"
               "'b':'more/model-00002-of-00002.safetensors'");
    assert_int_equal(mz_hub_open(&hub, folder), MZ_OK);
    assert_int_equal(mz_hub_count(hub), 3);
    for (int i = 0; i < 3; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        const mz_st_tensor *t = mz_hub_find(hub, name);
        float x[2];
        assert_non_null(t);
        memcpy(x, t->data, sizeof x);
        assert_true(x[0] >= (float)('a' + i) && x[0] <= (float)('a' + i));
    }
    mz_hub_close(hub);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    refused(MZ_EIO, "", "config.json");
    write_text("config.json", "{}");
    refused(MZ_EIO, "", "model.safetensors");
    index_with("'a':'x.safetensors'");
    refused(MZ_ECORRUPT, "x.safetensors", "missing");
    index_with("'a':5");
    refused(MZ_ECORRUPT, "a", "name of a file");
    write_text("model.safetensors.index.json", "{\"weight_map\":[]}");
    refused(MZ_ECORRUPT, "weight_map", "object");
    write_text("model.safetensors.index.json", "{");
    assert_int_equal(open_and_close(), MZ_ECORRUPT);
    write_text("config.json", "{\"a\":1,\"a\":2}");
    assert_int_equal(open_and_close(), MZ_ECORRUPT);
    snprintf(path, sizeof path, "%s", folder);
    in(folder, "nothing");
    refused(MZ_EIO, "", "no such folder");
    snprintf(folder, sizeof folder, "%s", path);
}

static void index_and_files_must_agree(void **state)
{
    (void)state;
    write_text("config.json", "{}");
    write_shard("x", "a b");
    write_shard("y", "c");
    index_with("'a':'x','b':'x','c':'y'");
    assert_int_equal(open_and_close(), MZ_OK);
    index_with("'a':'x','c':'y'");
    refused(MZ_ECORRUPT, "b", "does not name");
    index_with("'a':'x','b':'x','c':'y','d':'y'");
    refused(MZ_ECORRUPT, "d", "no file");
    index_with("'a':'x','b':'y','c':'y'");
    refused(MZ_ECORRUPT, "b", "another file");
    write_shard("y", "c b");
    index_with("'a':'x','b':'x','c':'y'");
    refused(MZ_ECORRUPT, "b", "two files");
}

static void no_name_leaves_the_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"../x", "/etc/passwd", "a/../../x", "./x",    "a//x",
                                        "x/",   "..",          "",          "a\\\\x", "/"};
    char outside[PATH_BYTES], link[PATH_BYTES];
    write_text("config.json", "{}");
    for (int i = 0; i < MZ_COUNT(names); i++) {
        char map[64];
        snprintf(map, sizeof map, "'a':'%s'", names[i]);
        index_with(map);
        assert_int_equal(open_and_close(), MZ_ECORRUPT);
        if (!strstr(mz_err_last()->message, "leaves the folder"))
            fail_msg("%s: %s", names[i], mz_err_last()->message);
    }
    write_shard("x", "a");
    in(link, "x");
    snprintf(outside, sizeof outside, "%s/outside", base);
    assert_int_equal(rename(link, outside), 0);
    assert_int_equal(symlink(outside, link), 0);
    index_with("'a':'x'");
    refused(MZ_ECORRUPT, "x", "link that leaves");
    assert_int_equal(unlink(outside), 0);
    /* a link inside the folder is fine */
    assert_int_equal(unlink(link), 0);
    write_shard("real", "a");
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(open_and_close(), MZ_OK);
}

/* models--x/snapshots/REVISION holds links into models--x/blobs. */
static void hub_cache_links_are_followed(void **state)
{
    (void)state;
    char kept[PATH_BYTES], blob[PATH_BYTES], link[PATH_BYTES];
    snprintf(kept, sizeof kept, "%s", folder);
    make_folder("snapshots");
    make_folder("snapshots/rev");
    make_folder("blobs");
    make_folder("other");
    write_shard("blobs/w", "a");
    write_shard("other/w", "a");
    write_text("snapshots/rev/config.json", "{}");
    in(blob, "blobs/w");
    in(link, "snapshots/rev/model.safetensors");
    assert_int_equal(symlink("../../blobs/w", link), 0);
    in(folder, "snapshots/rev");
    assert_int_equal(open_and_close(), MZ_OK);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("../../other/w", link), 0);
    refused(MZ_ECORRUPT, "model.safetensors", "link that leaves");
    snprintf(folder, sizeof folder, "%s", kept);
}

/* Every allocation, then every file call, fails in turn: an error, nothing kept, nothing leaked. */
static void every_failure_is_an_error(void **state)
{
    (void)state;
    write_text("config.json", "{\"a\":[1,2]}");
    write_shard("x", "a b");
    write_shard("y", "c");
    index_with("'a':'x','b':'x','c':'y'");
    for (int kind = 0; kind < 2; kind++) {
        mz_err err = MZ_EINVAL;
        int64_t n = 0;
        while (err != MZ_OK) {
            const size_t before = mz_mem_bytes_used();
            n++;
            if (kind == 0)
                mz_mem_fail_at(n, false);
            else
                mz_file_fail_at(n, EIO, false);
            err = open_and_close();
            mz_mem_fail_at(0, false);
            mz_file_fail_at(0, 0, false);
            assert_true(err == MZ_OK || err == (kind == 0 ? MZ_ENOMEM : MZ_EIO));
            assert_int_equal(mz_mem_bytes_used(), before);
            assert_true(n < 1000);
        }
        assert_true(n > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(shards, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(index_and_files_must_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(no_name_leaves_the_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(hub_cache_links_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(every_failure_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_base, drop_base);
}
