/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_placement.c - RUN/placement.json: a move that is unproven, proved, refused,
 * asked again before it was proved, and one that came after a start had read where to begin. */
#include "base/file.h"
#include "base/folder.h"
#include "tests/team.h"
#include "train/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static mz_train_config own, to_far, to_two;

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

static void begin(void)
{
    const char *a[] = {"ranks=[{chip: cpu}]", NULL}, *b[] = {"ranks=[{chip: far}]", NULL};
    const char *c[] = {"ranks=[{chip: cpu, share: 2}, {chip: far, share: 1}]", NULL};
    own = team_config("moved", 4, a);
    to_far = team_config("moved", 4, b);
    to_two = team_config("moved", 4, c);
    ok(mz_file_mkdirs(own.run_dir));
}

/* Where a start with the configuration's own ranks begins. */
static void check_begins(const mz_train_config *want, bool moved)
{
    bool is_moved = !moved;
    mz_train_config c = own;
    ok(mz_placement_use(&c, &is_moved));
    assert_int_equal(is_moved, moved);
    assert_int_equal(c.n_ranks, want->n_ranks);
    for (int64_t i = 0; i < c.n_ranks; i++)
        assert_string_equal(c.ranks[i].chip, want->ranks[i].chip);
}

static void check_state(bool unproven, const char *refused)
{
    mz_placement state;
    ok(mz_placement_state(own.run_dir, &state));
    assert_int_equal(state.unproven, unproven);
    assert_string_equal(state.refused, refused);
}

static void test_proved(void **state)
{
    (void)state;
    begin();
    check_state(false, "");
    ok(mz_placement_prove(own.run_dir)); /* nothing was moved */
    ok(mz_placement_write(&own, &to_far, true));
    ok(mz_placement_ask(own.run_dir));
    check_state(true, "");
    ok(mz_placement_prove(own.run_dir));
    check_state(false, "");
    assert_false(mz_placement_is_asked(own.run_dir));
    check_begins(&to_far, true);
    ok(mz_placement_refuse(own.run_dir, "too late")); /* it is proved */
    check_begins(&to_far, true);
    team_remove("moved");
}

static void test_refused(void **state)
{
    (void)state;
    begin();
    ok(mz_placement_write(&own, &to_far, true));
    ok(mz_placement_prove(own.run_dir));
    ok(mz_placement_write(&to_far, &to_two, true));
    ok(mz_placement_ask(own.run_dir));
    check_begins(&to_two, true);
    ok(mz_placement_write(&to_two, &own, true)); /* before the one before was proved */
    ok(mz_placement_refuse(own.run_dir, "it burns"));
    check_state(false, "it burns");
    assert_false(mz_placement_is_asked(own.run_dir));
    check_begins(&to_far, true); /* the last that made steps */
    ok(mz_placement_write(&to_far, &to_two, false));
    check_state(false, "");
    team_remove("moved");
}

static void test_newer(void **state)
{
    (void)state;
    bool moved;
    begin();
    mz_train_config c = own;
    ok(mz_placement_use(&c, &moved));
    assert_false(mz_placement_is_newer(&c));
    ok(mz_placement_write(&own, &to_two, false));
    assert_true(mz_placement_is_newer(&c));
    ok(mz_placement_use(&c, &moved));
    assert_false(mz_placement_is_newer(&c));
    team_remove("moved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proved),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_newer),
    };
    return cmocka_run_group_tests(tests, team_set_up, team_tear_down);
}
