/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_chips_coverage.c - `mizan chips coverage`: which operators each chip has, in which dtype
 * and direction, and how; with --model only what that model needs. Asked, not tried. Floor: app. */
#include "app/commands.h"
#include "base/mem.h"
#include "chip/coverage.h"
#include "model/model.h"
#include "port/source.h"

#include <stdio.h>
#include <string.h>

enum { TOKENS = 512, SEQUENCES = 4, PAGE = 32 };

static const mz_option OPTIONS[] = {
    {.name = "model",
     .kind = MZ_OPTION_TEXT,
     .value = "M",
     .help = "only what this model needs: a folder, or a GGUF file"},
    {.name = "all", .help = "test chips too"},
    {0}};

typedef struct needs {
    mz_desc *list;
    int n;
} needs;

static mz_err collect(void *arg, const mz_desc *desc)
{
    needs *x = arg;
    MZ_TRY(mz_mem_grow(&x->list, x->n + 1, sizeof *x->list));
    x->list[x->n++] = *desc;
    return MZ_OK;
}

/* What training and cached decode of the model ask for, in each dtype wanted. */
static mz_err needs_of(needs *x, const mz_cli *cli)
{
    static const mz_dtype both[] = {MZ_F32, MZ_BF16};
    const char *path = mz_cli_text(cli, "model", NULL);
    const bool one = mz_cli_text(cli, "dtype", NULL) != NULL;
    mz_source *source = NULL;
    mz_err err = MZ_OK;
    if (!path) return MZ_OK;
    MZ_TRY(mz_source_open(&source, path));
    const mz_config *c = mz_source_config(source);
    for (int i = 0; i < (one ? 1 : MZ_COUNT(both)) && err == MZ_OK; i++) {
        mz_model_options o = {.tokens_max = TOKENS,
                              .sequences_max = SEQUENCES,
                              .position_max = TOKENS,
                              .train = true,
                              .mtp = c->mtp_layers > 0,
                              .cache_pages = SEQUENCES * TOKENS / PAGE,
                              .page_tokens = PAGE,
                              .pages_per_sequence_max = TOKENS / PAGE};
        err = mz_cli_dtype(cli, both[i], &o.dtype);
        if (err == MZ_OK) err = mz_model_ops(c, &o, collect, x);
    }
    mz_source_close(source);
    return err;
}

static const char *direction_name(mz_pass direction)
{
    return direction == MZ_FORWARD ? "forward" : "backward";
}

static void print_row(const char *chip, const mz_coverage_row *r)
{
    printf("%-18s %-12s %-5s %-9s %-9s %s\n", chip, mz_op_name(r->kind), mz_dtype_name(r->dtype),
           direction_name(r->direction), mz_state_name(r->state), r->reason);
}

static json_t *row_json(const char *chip, const mz_coverage_row *r)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "schema", 1, "op",
                     mz_op_name(r->kind), "dtype", mz_dtype_name(r->dtype), "direction",
                     direction_name(r->direction), "chip", chip, "state", mz_state_name(r->state),
                     "reason", r->reason, "repeats", r->repeats, "blocks_host", r->blocks_host);
}

/* One chip's rows to the list, or to stdout where list is NULL. */
static mz_err cover(mz_device *device, const needs *x, json_t *list)
{
    mz_coverage_row *rows = NULL;
    int n = 0;
    mz_err err = MZ_OK;
    MZ_TRY(mz_coverage_of(device, x->list, x->n, &rows, &n));
    for (int i = 0; i < n && err == MZ_OK; i++) {
        if (!list)
            print_row(device->info.name, &rows[i]);
        else if (json_array_append_new(list, row_json(device->info.name, &rows[i])) != 0)
            err = mz_cli_json_failed();
    }
    mz_mem_free(rows);
    return err;
}

/* Every chip that can be opened here without a name behind the colon. */
static mz_err cover_all(const mz_cli *cli, const needs *x, json_t *list)
{
    const mz_chip_options options = mz_cli_chip_options(cli);
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *chip = mz_chip_get(i);
        mz_device *device = NULL;
        if (chip->is_test && !mz_cli_flag(cli, "all")) continue;
        const mz_err opened = mz_device_open(&device, chip->name, &options);
        if (opened == MZ_ENOMEM) return opened;
        if (opened != MZ_OK) continue; /* `mizan chips` says why */
        const mz_err err = cover(device, x, list);
        mz_device_close(device);
        MZ_TRY(err);
    }
    return MZ_OK;
}

static mz_err run(const mz_cli *cli)
{
    needs x = {0};
    mz_device *device = NULL;
    json_t *list = mz_cli_flag(cli, "json") ? json_array() : NULL;
    mz_err err = needs_of(&x, cli);
    if (err == MZ_OK && !list)
        printf("%-18s %-12s %-5s %-9s %-9s %s\n", "chip", "operator", "dtype", "direction", "state",
               "reason");
    if (err == MZ_OK && mz_cli_text(cli, "chip", NULL)) {
        err = mz_cli_open_chip(cli, &device);
        if (err == MZ_OK) err = cover(device, &x, list);
        mz_device_close(device);
    } else if (err == MZ_OK) {
        err = cover_all(cli, &x, list);
    }
    mz_mem_free(x.list);
    if (err != MZ_OK) {
        json_decref(list);
        return err;
    }
    return list ? mz_cli_print(list) : MZ_OK;
}

const mz_command mz_cmd_chips_coverage = {
    .name = "chips coverage",
    .arguments = "",
    .summary = "which operators each chip has, in which dtype and direction",
    .description =
        "State is native, composed (of the chip's other operators), host (hosted chips)\n"
        "or none, with the reason. Backward means bound for training.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_DTYPE,
    .examples = "mizan chips coverage --chip cpu --json",
    .run = run,
};
