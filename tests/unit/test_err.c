/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_err.c - the note: what it keeps, what it cuts, that it belongs to its thread. */
#include "base/err.h"

#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static mz_err origin(void)
{
    return MZ_FAIL(MZ_ECORRUPT, "w has %d, want %d", 5, 6);
}

static mz_err caller(void)
{
    MZ_TRY(origin());
    return MZ_OK;
}

static void note_says_what_and_where(void **state)
{
    (void)state;
    mz_err_clear();
    assert_int_equal(mz_err_last()->code, MZ_OK);
    assert_int_equal(caller(), MZ_ECORRUPT);
    const mz_err_info *e = mz_err_last();
    assert_int_equal(e->code, MZ_ECORRUPT);
    assert_string_equal(e->message, "w has 5, want 6");
    assert_non_null(strstr(e->source, "test_err.c"));
    assert_true(e->line > 0);
    assert_true(e->offset == -1 && !e->file[0] && !e->field[0] && !e->fix[0]);

    mz_note_where("a.json", "layers", 0);
    mz_note_where(NULL, "", -1); /* keeps what is there */
    mz_note_fix("write %s", "it again");
    assert_string_equal(e->file, "a.json");
    assert_string_equal(e->field, "layers");
    assert_string_equal(e->fix, "write it again");
    assert_int_equal(e->offset, 0);

    assert_int_equal(MZ_FAIL(MZ_EIO, "next"), MZ_EIO); /* replaces all of the old one */
    assert_true(e->offset == -1 && !e->file[0] && !e->field[0] && !e->fix[0]);
    mz_err_clear();
    assert_true(e->code == MZ_OK && !e->message[0] && e->offset == -1 && !e->source);
}

static mz_err needs(int x)
{
    MZ_NEED(x > 0, "x is %d", x);
    return MZ_OK;
}

static mz_err goes(mz_err first, int *cleaned)
{
    mz_err err;
    MZ_TRY_GOTO(err, first, end);
    *cleaned += 10;
end:
    *cleaned += 1;
    return err;
}

static void macros_pass_codes_on(void **state)
{
    (void)state;
    int cleaned = 0;
    assert_int_equal(needs(1), MZ_OK);
    assert_int_equal(needs(0), MZ_EINVAL);
    assert_string_equal(mz_err_last()->message, "x is 0");
    assert_int_equal(goes(MZ_EBUSY, &cleaned), MZ_EBUSY);
    assert_int_equal(cleaned, 1);
    assert_int_equal(goes(MZ_OK, &cleaned), MZ_OK);
    assert_int_equal(cleaned, 12);
}

/* Every length around the size of the field; the text is two-byte characters behind `lead` ASCII
 * ones, so that the cut falls inside a character for one of lead = 0, 1. */
static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    enum { FULL = (int)sizeof(mz_err_last()->message) };
    for (int lead = 0; lead < 2; lead++) {
        for (int len = FULL - 6; len < FULL + 6; len++) {
            char text[2 * FULL] = "a";
            int n = lead;
            for (; n + 2 <= len; n += 2) memcpy(text + n, "\xc3\xa4", 2);
            text[n] = '\0';
            mz_note(MZ_EIO, __FILE__, __LINE__, "%s", text);
            const char *got = mz_err_last()->message;
            if (n < FULL) {
                assert_string_equal(got, text);
                continue;
            }
            const size_t kept = strlen(got) - 3;
            assert_string_equal(got + kept, "...");
            assert_true(kept >= FULL - 6 && kept + 3 < FULL);
            assert_int_equal(kept % 2, lead); /* whole characters */
            assert_memory_equal(got, text, kept);
        }
    }
}

static void long_file_field_and_fix_are_cut(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mz_note(MZ_EIO, __FILE__, __LINE__, "short");
    mz_note_where(text, text, 7);
    mz_note_fix("%s", text);
    const mz_err_info *e = mz_err_last();
    assert_int_equal(strlen(e->file), sizeof e->file - 1);
    assert_int_equal(strlen(e->field), sizeof e->field - 1);
    assert_int_equal(strlen(e->fix), sizeof e->fix - 1);
    assert_string_equal(e->message, "short");
    assert_int_equal(e->offset, 7);
}

static void note_may_quote_the_note_before(void **state)
{
    (void)state;
    mz_note(MZ_EIO, __FILE__, __LINE__, "disk");
    mz_note_where("f", NULL, -1);
    const mz_err_info *e = mz_err_last();
    mz_note(MZ_EINVAL, __FILE__, __LINE__, "%s, then %s", e->message, e->file);
    assert_string_equal(e->message, "disk, then f");
    mz_note_where(e->message, NULL, -1);
    mz_note_fix("[%s]", e->file);
    mz_note_fix("[%s]", e->fix);
    assert_string_equal(e->fix, "[[disk, then f]]");
}

static void *other_thread(void *arg)
{
    const mz_err was = mz_err_last()->code;
    mz_err_restore(arg);
    return was == MZ_OK && strcmp(mz_err_last()->message, "mine") == 0 ? arg : NULL;
}

static void note_belongs_to_its_thread_and_can_be_carried(void **state)
{
    (void)state;
    pthread_t id;
    void *result;
    mz_note(MZ_ECHIP, __FILE__, __LINE__, "mine");
    mz_err_info copy = *mz_err_last();
    mz_note(MZ_EIO, __FILE__, __LINE__, "newer");
    assert_int_equal(pthread_create(&id, NULL, other_thread, &copy), 0);
    assert_int_equal(pthread_join(id, &result), 0);
    assert_non_null(result);
    assert_string_equal(mz_err_last()->message, "newer");
    mz_err_restore(mz_err_last()); /* itself */
    mz_err_restore(NULL);
    assert_string_equal(mz_err_last()->message, "newer");
}

static void codes_have_names_texts_and_exits(void **state)
{
    (void)state;
    assert_int_equal(MZ_OK, 0);
    assert_string_equal(mz_err_name(MZ_ECORRUPT), "ECORRUPT");
    for (int i = 0; i < MZ_ERR_COUNT; i++) {
        assert_true(mz_err_name((mz_err)i)[0] && mz_err_text((mz_err)i)[0]);
        assert_true((mz_err_exit((mz_err)i) == 0) == (i == MZ_OK));
    }
    /* the contract of the command line */
    assert_int_equal(mz_err_exit(MZ_EINVAL), 1);
    assert_int_equal(mz_err_exit(MZ_EUSAGE), 2);
    assert_int_equal(mz_err_exit(MZ_ENOTSUP), 69);
    assert_int_equal(mz_err_exit(MZ_EIO), 74);
    assert_int_equal(mz_err_exit(MZ_EINTR), 75);
    assert_int_equal(mz_err_exit(MZ_ECORRUPT), 76);
    assert_int_equal(mz_err_exit(MZ_ENUMERIC), 77);
    assert_int_equal(mz_err_exit(MZ_ECONFIG), 78);
    assert_int_equal(mz_err_exit((mz_err)999), 1);
    assert_string_equal(mz_err_name((mz_err)999), "EINVAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(note_says_what_and_where),
        cmocka_unit_test(macros_pass_codes_on),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(long_file_field_and_fix_are_cut),
        cmocka_unit_test(note_may_quote_the_note_before),
        cmocka_unit_test(note_belongs_to_its_thread_and_can_be_carried),
        cmocka_unit_test(codes_have_names_texts_and_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
