/* SPDX-License-Identifier: Apache-2.0 */
/* app/placed.c - see placed.h. */
#include "app/placed.h"

#include "base/mem.h"
#include "train/config.h"

#include <stdio.h>
#include <string.h>

static mz_err open_ranks(const mz_cli *cli, const mz_train_config *c, mz_chips *chips)
{
    for (int64_t i = 0; i < c->n_ranks; i++) {
        mz_placed *at = &chips->at[chips->n];
        MZ_TRY(mz_cli_open_named(cli, c->ranks[i].chip, &at->device));
        at->layers = c->ranks[i].layers;
        chips->n++;
    }
    return MZ_OK;
}

/* As the key `ranks` of a training, which has shares too; here there are only layers. */
static mz_err read_ranks(mz_train_config *c, const char *text)
{
    const mz_place at = {.file = "", .offset = -1};
    mz_err err = mz_config_parse_ranks(c, text, &at);
    if (err == MZ_OK && c->n_ranks == 0) err = MZ_FAIL(MZ_EUSAGE, "--ranks is empty");
    if (err == MZ_OK && strstr(text, "share"))
        err = MZ_FAIL(MZ_EUSAGE, "--ranks: here a rank has layers, not a share of the samples");
    if (err == MZ_OK) return MZ_OK;
    const mz_err_info why = *mz_err_last();
    if (err == MZ_ECONFIG) err = MZ_FAIL(MZ_EUSAGE, "--%s", why.message);
    mz_note_fix("as in --ranks '[{chip: cpu, layers: 10}, {chip: opencl:0}]'");
    return err;
}

mz_err mz_app_open_chips(const mz_cli *cli, mz_chips *chips)
{
    const char *text = mz_cli_text(cli, "ranks", NULL);
    mz_train_config *c = NULL;
    *chips = (mz_chips){0};
    if (!text) {
        MZ_TRY(mz_cli_open_chip(cli, &chips->at[0].device));
        chips->n = 1;
        return MZ_OK;
    }
    if (mz_cli_text(cli, "chip", NULL))
        return MZ_FAIL(MZ_EUSAGE, "--chip and --ranks say twice where the network is to lie");
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    mz_err err = read_ranks(c, text);
    if (err == MZ_OK) err = open_ranks(cli, c, chips);
    mz_mem_free(c);
    return err;
}

void mz_app_close_chips(mz_chips *chips)
{
    for (int64_t i = chips->n - 1; i >= 0; i--) mz_device_close(chips->at[i].device);
    chips->n = 0;
}

json_t *mz_app_chips_json(const mz_chips *chips)
{
    json_t *list = json_array();
    int bad = 0;
    for (int64_t i = 0; i < chips->n; i++) {
        const mz_placed *at = &chips->at[i];
        bad |= json_array_append_new(
            list, json_pack("{s:s, s:I, s:I}", "chip", at->device->info.name, "layers",
                            (json_int_t)at->layers, "bytes", (json_int_t)at->device->bytes_peak));
    }
    if (bad == 0) return list;
    json_decref(list);
    return NULL;
}

void mz_app_tell_chips(const mz_chips *chips)
{
    int64_t first = 0;
    for (int64_t i = 0; i < chips->n && chips->n > 1; i++) {
        const mz_placed *at = &chips->at[i];
        fprintf(stderr, "layers %lld to %lld on %s (%s), %.1f MiB\n", (long long)first,
                (long long)(first + at->layers - 1), at->device->info.name, at->device->info.model,
                (double)at->device->bytes_peak / 1048576.0);
        first += at->layers;
    }
}
