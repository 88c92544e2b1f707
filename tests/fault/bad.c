/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/bad.c - see bad.h. */
#include "tests/fault/bad.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[64];

int bad_make_folder(void **state)
{
    (void)state;
    const bool fast = mz_file_is_dir("/dev/shm"); /* fsync costs nothing */
    (void)snprintf(folder, sizeof folder, "%s/mz-bad-XXXXXX", fast ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

int bad_drop_folder(void **state)
{
    (void)state;
    return mz_folder_remove(folder) == MZ_OK ? 0 : -1;
}

const char *bad_folder(void)
{
    return folder;
}

static void path_of(char out[256], const char *name)
{
    assert_int_equal(mz_path_join(out, 256, folder, name), MZ_OK);
}

void bad_put_bytes(const char *name, const void *bytes, size_t n)
{
    char path[256];
    path_of(path, name);
    assert_int_equal(mz_file_write(path, n > 0 ? bytes : "", n), MZ_OK);
}

static char *quoted(const char *text)
{
    char *copy = NULL;
    assert_int_equal(mz_mem_strdup(&copy, text), MZ_OK);
    for (char *p = copy; *p; p++)
        if (*p == '\'') *p = '"';
    return copy;
}

void bad_put(const char *name, const char *text)
{
    char *copy = quoted(text);
    bad_put_bytes(name, copy, strlen(copy));
    mz_mem_free(copy);
}

void bad_put_safetensors(const char *name, const char *header, size_t data_bytes)
{
    char *text = quoted(header), *all = NULL;
    const size_t n = strlen(text);
    assert_int_equal(mz_mem_new(&all, (int64_t)(8 + n + data_bytes), 1), MZ_OK);
    for (int i = 0; i < 8; i++) all[i] = (char)((uint64_t)n >> 8 * i & 0xff);
    memcpy(all + 8, text, n);
    bad_put_bytes(name, all, 8 + n + data_bytes);
    mz_mem_free(all);
    mz_mem_free(text);
}

void bad_remove(const char *name)
{
    char path[256];
    path_of(path, name);
    assert_int_equal(mz_folder_remove(path), MZ_OK);
}

static void put(const bad_table *t, const char *text)
{
    if (t->safetensors)
        bad_put_safetensors(t->file, text, t->data_bytes);
    else
        bad_put(t->file, text);
}

/* The good text with one thing wrong. */
static char *spoil(const bad_table *t, const bad *row)
{
    mz_str s = {0};
    const char *place = row->find ? strstr(t->good, row->find) : t->good;
    if (!place) fail_msg("%s: the good text has no %s", row->name, row->find);
    const char *rest = row->find ? place + strlen(row->find) : "";
    assert_int_equal(mz_str_add(&s, t->good, (size_t)(place - t->good)), MZ_OK);
    assert_int_equal(mz_str_add(&s, row->with, strlen(row->with)), MZ_OK);
    assert_int_equal(mz_str_add(&s, rest, strlen(rest)), MZ_OK);
    return s.text;
}

static int64_t last_place(const char *text, const char *what)
{
    int64_t found = -1;
    for (const char *p = text; (p = strstr(p, what)); p++) found = p - text;
    return found;
}

static bool is_said_well(const bad_table *t, const bad *row, const char *text, mz_err err)
{
    const mz_err_info *info = mz_err_last();
    if (err != row->code || info->code != err) return false;
    if (strcmp(info->field, row->field) != 0 || !strstr(info->message, row->says)) return false;
    const bool here = strncmp(info->file, folder, strlen(folder)) == 0 &&
                      strcmp(info->file + strlen(folder) + 1, t->file) == 0;
    if (!row->at) return info->offset < 0 || !here;
    if (!here) return false;
    if (!row->at[0]) return info->offset >= 0;
    return info->offset == last_place(text, row->at) + (t->safetensors ? 8 : 0);
}

void bad_run(const bad_table *t, const bad *rows, int n)
{
    int wrong = 0;
    put(t, t->good);
    if (t->open(folder) != MZ_OK) fail_msg("the good one: %s", mz_err_last()->message);
    for (int i = 0; i < n; i++) {
        char *text = spoil(t, &rows[i]);
        put(t, text);
        mz_err_clear();
        const size_t before = mz_mem_bytes_used();
        const mz_err err = t->open(folder);
        const mz_err_info *info = mz_err_last();
        const bool leaks = mz_mem_bytes_used() != before;
        if (leaks || !is_said_well(t, &rows[i], text, err)) {
            print_error(
                "%s: %s, field \"%s\", offset %lld, \"%s\" in %s%s; want %s, \"%s\", \"%s\","
                " \"%s\"\n",
                rows[i].name, mz_err_name(err), info->field, (long long)info->offset, info->message,
                info->file, leaks ? ", and memory is lost" : "", mz_err_name(rows[i].code),
                rows[i].field, rows[i].says, rows[i].at ? rows[i].at : "none");
            wrong++;
        }
        mz_mem_free(text);
    }
    put(t, t->good);
    assert_int_equal(wrong, 0);
}
