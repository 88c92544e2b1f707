/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_chips.c - `mizan chips`: every chip of this build, opened once to see whether it is
 * usable here, and measured for a moment if it is. Floor: app. */
#include "app/commands.h"
#include "app/gauge.h"
#include "base/clock.h"
#include "base/str.h"
#include "op/op.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const mz_option OPTIONS[] = {{.name = "all", .help = "the test chips and all variants too"},
                                    {.name = "no-measure", .help = "do not measure speed"},
                                    {0}};

typedef struct found {
    char spec[64]; /* what --chip takes */
    const mz_chip *chip;
    mz_device_info info;
    bool usable;
    char reason[512], fix[256];               /* where it is not */
    int64_t opened_ns, measured_ns;           /* what that took */
    double gemm_flop_per_s, copy_bytes_per_s; /* 0 = not measured */
} found;

/* Each measurement repeats until it has taken this long, and keeps its best. Two of them are nearly
 * all the time that the command takes where there is no other chip than the processor, whose
 * figures are there at once; a chip behind a driver needs longer to reach its own. */
static int64_t measure_ns(const mz_device *device)
{
    return device->info.is_host ? 20000000 : 60000000;
}

static mz_err measure_copy(mz_queue *q, double *best)
{
    const size_t bytes = (size_t)16 << 20;
    mz_buffer *buf = NULL;
    MZ_TRY(mz_buffer_new(&buf, q->device, 2 * bytes));
    mz_err err = mz_copy_bytes(q, buf, 0, buf, bytes, bytes); /* touches every page once */
    if (err == MZ_OK) err = mz_queue_sync(q);
    const int64_t end = mz_clock_ns() + measure_ns(q->device);
    while (err == MZ_OK && mz_clock_ns() < end) {
        const int64_t start = mz_clock_ns();
        err = mz_copy_bytes(q, buf, 0, buf, bytes, bytes);
        if (err == MZ_OK) err = mz_queue_sync(q);
        const double rate = 2.0 * (double)bytes * 1e9 / (double)(mz_clock_ns() - start + 1);
        if (err == MZ_OK && rate > *best) *best = rate; /* read and written */
    }
    mz_buffer_free(buf);
    return err;
}

/* A chip that cannot multiply or copy is simply not measured. */
static void measure(found *f, mz_device *device)
{
    static const mz_dtype order[] = {MZ_F32, MZ_BF16, MZ_F16};
    mz_queue *q = NULL;
    if (mz_queue_open(&q, device) != MZ_OK) return;
    for (int i = 0; i < MZ_COUNT(order); i++)
        if (f->info.dtypes & 1u << order[i]) {
            if (mz_gauge_gemm(q, order[i], measure_ns(device), &f->gemm_flop_per_s) != MZ_OK)
                f->gemm_flop_per_s = 0.0;
            break;
        }
    if (measure_copy(q, &f->copy_bytes_per_s) != MZ_OK) f->copy_bytes_per_s = 0.0;
    mz_queue_close(q);
}

static void look(found *f, const mz_cli *cli, const mz_chip *chip, const char *variant)
{
    mz_device *device = NULL;
    const mz_chip_options options = mz_cli_chip_options(cli);
    f->chip = chip;
    snprintf(f->spec, sizeof f->spec, "%s%s%s", chip->name, variant[0] ? ":" : "", variant);
    const int64_t begun = mz_clock_ns();
    f->usable = mz_device_open(&device, f->spec, &options) == MZ_OK;
    f->opened_ns = mz_clock_ns() - begun;
    if (f->usable) {
        f->info = device->info;
        if (!mz_cli_flag(cli, "no-measure") && !chip->is_test) measure(f, device);
        f->measured_ns = mz_clock_ns() - begun - f->opened_ns;
    } else {
        snprintf(f->reason, sizeof f->reason, "%s", mz_err_last()->message);
        snprintf(f->fix, sizeof f->fix, "%s", mz_err_last()->fix);
    }
    mz_device_close(device);
}

/* "slow=SEED": a pattern to be filled in, not a variant that could be opened. */
static bool is_pattern(const char *variant)
{
    while (*variant && !(*variant >= 'A' && *variant <= 'Z')) variant++;
    return *variant != '\0';
}

/* Nothing without the name of another chip, in front of which it stands. */
static bool wants_a_chip(const mz_chip *chip)
{
    return chip->variants && strstr(chip->variants[0], "SPEC");
}

/* ---- for people ---- */

static void dtype_names(char out[64], uint32_t dtypes)
{
    size_t n = 0;
    out[0] = '\0';
    for (int d = 0; d < MZ_DTYPE_COUNT; d++)
        if (dtypes & 1u << d && n < 48)
            n +=
                (size_t)snprintf(out + n, 64 - n, "%s%s", n ? " " : "", mz_dtype_name((mz_dtype)d));
}

/* A row; what is said of a chip that is not usable begins where the third column does. */
static void print_row(const char *spec, const char *usable, const char *rest)
{
    printf("%-20s  %-6s  %s\n", spec, usable, rest);
}

static void print_columns(const char *spec, const char *usable, const char *const column[5])
{
    char rest[512];
    snprintf(rest, sizeof rest, "%-9s  %-13s  %13s  %10s  %s", column[0], column[1], column[2],
             column[3], column[4]);
    print_row(spec, usable, rest);
}

static const char *speed(char text[32], double per_s, const char *unit)
{
    text[0] = '\0';
    if (per_s > 0.0) snprintf(text, 32, "%.1f %s", per_s / 1e9, unit);
    return text;
}

static void print_usable(const found *f)
{
    char memory[32] = "", dtypes[64], matmul[32], copy[32], threads[32] = "", device[256];
    const mz_device_info *i = &f->info;
    const char *what = i->model[0] ? i->model : i->vendor[0] ? i->vendor : f->chip->summary;
    if (i->memory_bytes > 0) mz_str_bytes(memory, (double)i->memory_bytes);
    if (i->threads > 0) snprintf(threads, sizeof threads, ", %d threads", i->threads);
    snprintf(device, sizeof device, "%.96s%s%s%s%s", what, i->emulated ? ", emulated" : "",
             i->isa[0] ? ", " : "", i->isa, threads);
    dtype_names(dtypes, i->dtypes);
    print_columns(f->spec, "yes",
                  (const char *const[5]){memory, dtypes,
                                         speed(matmul, f->gemm_flop_per_s, "GFLOP/s"),
                                         speed(copy, f->copy_bytes_per_s, "GB/s"), device});
    if (i->driver[0]) print_row("", "", i->driver);
}

static void print_text(const found *f)
{
    char spec[128];
    if (f->usable) {
        print_usable(f);
    } else if (wants_a_chip(f->chip)) {
        snprintf(spec, sizeof spec, "%s:%.32s", f->spec, f->chip->variants[0]);
        print_row(spec, "", f->chip->summary);
    } else {
        print_row(f->spec, "no", f->reason);
        if (f->fix[0]) print_row("", "", f->fix);
    }
}

static void print_pattern(const mz_chip *chip, const char *variant)
{
    char spec[128];
    snprintf(spec, sizeof spec, "%.64s:%.48s", chip->name, variant);
    print_row(spec, "", "to be filled in");
}

/* ---- for programs ---- */

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *positive_or_null(double x)
{
    return x > 0.0 ? json_real(x) : json_null();
}

static json_t *dtypes_json(uint32_t dtypes)
{
    json_t *list = json_array();
    for (int d = 0; list && d < MZ_DTYPE_COUNT; d++)
        if (dtypes & 1u << d &&
            json_array_append_new(list, json_string(mz_dtype_name((mz_dtype)d))) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *chip_json(const found *f)
{
    const mz_device_info *i = &f->info;
    json_t *o = json_object();
    int bad = json_object_set_new(o, "name", json_string(f->spec));
    bad |= json_object_set_new(o, "summary", json_string(f->chip->summary));
    bad |= json_object_set_new(o, "usable", json_boolean(f->usable));
    bad |= json_object_set_new(o, "reason", text_or_null(f->reason));
    bad |= json_object_set_new(o, "fix", text_or_null(f->fix));
    bad |= json_object_set_new(o, "open_ms", json_real((double)f->opened_ns * 1e-6));
    bad |= json_object_set_new(o, "measure_ms", json_real((double)f->measured_ns * 1e-6));
    bad |= json_object_set_new(o, "vendor", text_or_null(i->vendor));
    bad |= json_object_set_new(o, "model", text_or_null(i->model));
    bad |= json_object_set_new(o, "driver", text_or_null(i->driver));
    bad |= json_object_set_new(o, "isa", text_or_null(i->isa));
    bad |=
        json_object_set_new(o, "threads", i->threads > 0 ? json_integer(i->threads) : json_null());
    bad |= json_object_set_new(o, "memory_bytes",
                               i->memory_bytes > 0 ? json_integer(i->memory_bytes) : json_null());
    bad |= json_object_set_new(o, "memory_free_bytes",
                               i->memory_free_bytes > 0 ? json_integer(i->memory_free_bytes)
                                                        : json_null());
    bad |= json_object_set_new(o, "dtypes", dtypes_json(i->dtypes));
    bad |= json_object_set_new(o, "emulated", f->usable ? json_boolean(i->emulated) : json_null());
    bad |= json_object_set_new(o, "test", json_boolean(f->chip->is_test));
    bad |= json_object_set_new(o, "gemm_flop_per_s", positive_or_null(f->gemm_flop_per_s));
    bad |= json_object_set_new(o, "copy_bytes_per_s", positive_or_null(f->copy_bytes_per_s));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

/* Prints one chip, or adds it to list. */
static mz_err show(json_t *list, const mz_cli *cli, const mz_chip *chip, const char *variant)
{
    found f = {0};
    look(&f, cli, chip, variant);
    if (list) return json_array_append_new(list, chip_json(&f)) ? mz_cli_json_failed() : MZ_OK;
    print_text(&f);
    return MZ_OK;
}

/* All that may follow its colon. */
static mz_err show_variants(json_t *list, const mz_cli *cli, const mz_chip *chip)
{
    for (int k = 0; chip->variants && chip->variants[k]; k++)
        if (!is_pattern(chip->variants[k]))
            MZ_TRY(show(list, cli, chip, chip->variants[k]));
        else if (!list && (k > 0 || !wants_a_chip(chip))) /* that one has a row of its own */
            print_pattern(chip, chip->variants[k]);
    return MZ_OK;
}

static mz_err show_all(json_t *list, const mz_cli *cli)
{
    const bool all = mz_cli_flag(cli, "all");
    if (!list)
        print_columns("chip", "usable",
                      (const char *const[5]){"memory", "types", "matmul", "copy", "device"});
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *chip = mz_chip_get(i);
        if (chip->is_test && !all) continue;
        MZ_TRY(show(list, cli, chip, ""));
        if (all) MZ_TRY(show_variants(list, cli, chip));
    }
    return MZ_OK;
}

static mz_err run(const mz_cli *cli)
{
    if (!mz_cli_flag(cli, "json")) return show_all(NULL, cli);
    json_t *o = mz_cli_document(), *list = json_array();
    if (json_object_set_new(o, "chips", list) != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    const mz_err err = show_all(list, cli);
    if (err == MZ_OK) return mz_cli_print(o);
    json_decref(o);
    return err;
}

const mz_command mz_cmd_chips = {
    .name = "chips",
    .arguments = "",
    .summary = "list the chips and whether they are usable here",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
    .examples = "mizan chips --all",
    .run = run,
};
