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
    char reason[512];
    double gemm_flop_per_s, copy_bytes_per_s; /* 0 = not measured */
} found;

/* Each measurement repeats until it has taken this long, and keeps its best. */
static const int64_t MEASURE_NS = 60000000;

static mz_err measure_copy(mz_queue *q, double *best)
{
    const size_t bytes = (size_t)16 << 20;
    mz_buffer *buf = NULL;
    MZ_TRY(mz_buffer_new(&buf, q->device, 2 * bytes));
    mz_err err = mz_copy_bytes(q, buf, 0, buf, bytes, bytes); /* touches every page once */
    if (err == MZ_OK) err = mz_queue_sync(q);
    const int64_t end = mz_clock_ns() + MEASURE_NS;
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
            if (mz_gauge_gemm(q, order[i], MEASURE_NS, &f->gemm_flop_per_s) != MZ_OK)
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
    f->usable = mz_device_open(&device, f->spec, &options) == MZ_OK;
    if (f->usable) {
        f->info = device->info;
        if (!mz_cli_flag(cli, "no-measure") && !chip->is_test) measure(f, device);
    } else
        snprintf(f->reason, sizeof f->reason, "%s", mz_err_last()->message);
    mz_device_close(device);
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

static void print_text(const found *f)
{
    char memory[32] = "?", dtypes[64];
    if (!f->usable) {
        printf("%-16s  not usable: %s\n", f->spec, f->reason);
        return;
    }
    if (f->info.memory_bytes > 0) mz_str_bytes(memory, (double)f->info.memory_bytes);
    dtype_names(dtypes, f->info.dtypes);
    printf("%-16s  %s\n", f->spec, f->chip->summary);
    printf("%-16s  %s%s%s\n", "", f->info.model[0] ? f->info.model : f->info.vendor,
           f->info.emulated ? ", emulated" : "", f->info.is_host ? ", host memory" : "");
    if (f->info.driver[0]) printf("%-16s  driver %s\n", "", f->info.driver);
    printf("%-16s  %s, %s", "", memory, dtypes);
    if (f->info.isa[0]) printf(", %s", f->info.isa);
    if (f->info.threads > 0) printf(", %d threads", f->info.threads);
    printf("\n");
    if (f->gemm_flop_per_s > 0.0)
        printf("%-16s  matmul %.1f GFLOP/s, copy %.1f GB/s\n", "", f->gemm_flop_per_s / 1e9,
               f->copy_bytes_per_s / 1e9);
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

/* "slow=SEED": a pattern to be filled in, not a variant that could be opened. */
static bool is_pattern(const char *variant)
{
    while (*variant && !(*variant >= 'A' && *variant <= 'Z')) variant++;
    return *variant != '\0';
}

static mz_err show_all(json_t *list, const mz_cli *cli)
{
    const bool all = mz_cli_flag(cli, "all");
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *chip = mz_chip_get(i);
        if (chip->is_test && !all) continue;
        MZ_TRY(show(list, cli, chip, ""));
        for (int k = 0; all && chip->variants && chip->variants[k]; k++)
            if (!is_pattern(chip->variants[k]))
                MZ_TRY(show(list, cli, chip, chip->variants[k]));
            else if (!list)
                printf("%s:%-*s  to be filled in\n", chip->name, 15 - (int)strlen(chip->name),
                       chip->variants[k]);
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
