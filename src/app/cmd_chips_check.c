/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_chips_check.c - `mizan chips check CHIP`: the conformance suite on one chip. Floor: app.
 */
#include "app/commands.h"
#include "base/clock.h"
#include "weigh/conform.h"

#include <stdio.h>
#include <unistd.h>

enum { CASES = 200 };

static const mz_option OPTIONS[] = {
    {.name = "cases",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "random calls of each operator and dtype (default 200)",
     .least = 1,
     .most = 1e6},
    {.name = "op", .kind = MZ_OPTION_TEXT, .value = "NAME", .help = "only this operator"},
    {0}};

static void show_progress(void *user, const mz_conform_row *row, int64_t done, int64_t of)
{
    const int64_t *start = user;
    const double seconds = (double)(mz_clock_ns() - *start) * 1e-9;
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r%3.0f %%  %-12s %-5s  %3.0f s left   ", 100.0 * (double)done / (double)of,
            row->op, row->dtype, seconds * (double)(of - done) / (double)done);
    if (done == of) fprintf(stderr, "\r%60s\r", "");
    fflush(stderr);
}

static void print_text(const mz_device *device, const mz_conform_result *r, uint64_t seed)
{
    printf("%-12s %-5s %8s %8s %8s  %s\n", "operator", "dtype", "cases", "passed", "skipped",
           "worst error, as a share of its limit");
    for (int64_t i = 0; i < r->n_rows; i++) {
        const mz_conform_row *x = &r->rows[i];
        printf("%-12s %-5s %8lld %8lld %8lld  ", x->op, x->dtype, (long long)x->cases,
               (long long)x->passed, (long long)x->skipped);
        if (x->skipped == x->cases)
            printf("%s\n", x->reason);
        else
            printf("%.2f\n", x->worst);
    }
    for (int64_t i = 0; i < r->n_failures; i++)
        printf("FAILED %s %s %s, case %lld: %s\n", r->failures[i].op, r->failures[i].dtype,
               r->failures[i].pass, (long long)r->failures[i].number, r->failures[i].what);
    printf("%s%s%s: %lld cases, %lld passed, %lld skipped, %lld failed, seed %llu%s\n",
           device->info.name, device->info.isa[0] ? " " : "", device->info.isa, (long long)r->cases,
           (long long)r->passed, (long long)r->skipped,
           (long long)(r->cases - r->passed - r->skipped), (unsigned long long)seed,
           device->info.emulated ? " (emulated)" : "");
}

static json_t *rows_json(const mz_conform_result *r)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < r->n_rows; i++) {
        const mz_conform_row *x = &r->rows[i];
        json_t *row = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:s*}", "op", x->op, "dtype",
                                x->dtype, "cases", (json_int_t)x->cases, "passed",
                                (json_int_t)x->passed, "skipped", (json_int_t)x->skipped, "worst",
                                x->worst, "reason", x->skipped > 0 ? x->reason : NULL);
        if (json_array_append_new(list, row) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *failures_json(const mz_conform_result *r)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < r->n_failures; i++) {
        const mz_conform_failure *f = &r->failures[i];
        json_t *x = json_pack("{s:s, s:s, s:s, s:I, s:s}", "op", f->op, "dtype", f->dtype, "pass",
                              f->pass, "case", (json_int_t)f->number, "what", f->what);
        if (json_array_append_new(list, x) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static mz_err print_json(const mz_device *device, const mz_conform_result *r, uint64_t seed)
{
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "chip", json_string(device->info.name));
    bad |= json_object_set_new(o, "isa", json_string(device->info.isa));
    bad |= json_object_set_new(o, "emulated", json_boolean(device->info.emulated));
    bad |= json_object_set_new(o, "seed", json_integer((json_int_t)seed));
    bad |= json_object_set_new(o, "cases", json_integer(r->cases));
    bad |= json_object_set_new(o, "passed", json_integer(r->passed));
    bad |= json_object_set_new(o, "skipped", json_integer(r->skipped));
    bad |= json_object_set_new(o, "rows", rows_json(r));
    bad |= json_object_set_new(o, "failures", failures_json(r));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    mz_device *chip = NULL, *reference = NULL;
    mz_conform_result r = {0};
    mz_err err;
    int64_t start = mz_clock_ns();
    const mz_chip_options options = mz_cli_chip_options(cli);
    const uint64_t seed =
        (uint64_t)mz_cli_int(cli, "seed", (int64_t)(mz_clock_wall_s() * 1e3) & 0xffffffff);
    const mz_conform_options o = {
        .seed = seed, .cases = mz_cli_int(cli, "cases", CASES), .op = mz_cli_text(cli, "op", NULL)};
    MZ_TRY(mz_device_open(&chip, mz_cli_argument(cli, 0), &options));
    MZ_TRY_GOTO(err, mz_device_open(&reference, "ref", NULL), done);
    MZ_TRY_GOTO(err, mz_conform(&r, chip, reference, &o, show_progress, &start), done);
    if (o.op && r.n_rows == 0) {
        err = MZ_FAIL(MZ_EUSAGE, "there is no operator %s", o.op);
        goto done;
    }
    err = MZ_OK;
    if (mz_cli_flag(cli, "json"))
        err = print_json(chip, &r, seed);
    else
        print_text(chip, &r, seed);
    const int64_t failed = r.cases - r.passed - r.skipped;
    if (err == MZ_OK && failed > 0)
        err = MZ_FAIL(MZ_ENUMERIC, "%lld of %lld cases failed; --seed %llu repeats them",
                      (long long)failed, (long long)r.cases, (unsigned long long)seed);
done:
    mz_conform_clear(&r);
    mz_device_close(reference);
    mz_device_close(chip);
    return err;
}

const mz_command mz_cmd_chips_check = {
    .name = "chips check",
    .arguments = "CHIP",
    .least = 1,
    .most = 1,
    .summary = "hold every operator of a chip against the reference on random shapes",
    .description = "Forward and backward, all dtypes, strided and unaligned views, NaN and\n"
                   "infinities. Exit code 77 if a case fails. A new seed each run, printed.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_SEED,
    .examples = "mizan chips check cpu --seed 7",
    .run = run,
};
