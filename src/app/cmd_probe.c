/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_probe.c - `mizan probe`: numbers out of a model, for comparing with other programs.
 * Floor: app. */
#include "app/commands.h"
#include "infer/probe.h"

#include <stdio.h>

static const mz_option OPTIONS[] = {
    {.name = "ids",
     .kind = MZ_OPTION_TEXT,
     .value = "IN.safetensors",
     .help = "ids I64 [B,T]; optional labels I64 [B,T], already shifted, -100 = not counted"},
    {.name = "out",
     .kind = MZ_OPTION_TEXT,
     .value = "OUT.safetensors",
     .help = "where logits and loss go, and what the flags ask for"},
    {.name = "hidden", .help = "hidden.I after the embedding, each block and the final norm"},
    {.name = "router-out", .help = "router.L.ids and router.L.weights of every layer of experts"},
    {.name = "router",
     .kind = MZ_OPTION_TEXT,
     .value = "FORCED.safetensors",
     .help = "take router.L.ids from there instead of choosing"},
    {.name = "gradients", .help = "grad.NAME for every tensor that the loss depends on"},
    {.name = "decode", .help = "decode.logits, token by token through the cache"},
    {.name = "greedy",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "greedy.ids: N most likely ids after IN",
     .most = 1 << 20},
    {.name = "adapter",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "a LoRA adapter in peft's files, added to the weights"},
    {0}};

static mz_err needed(const mz_cli *cli, const char *name, const char **out)
{
    *out = mz_cli_text(cli, name, NULL);
    return *out ? MZ_OK : MZ_FAIL(MZ_EUSAGE, "probe needs --%s", name);
}

static mz_err report(const mz_cli *cli, const mz_device *device, const char *out)
{
    if (!mz_cli_flag(cli, "json")) return MZ_OK;
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "out", json_string(out));
    bad |= json_object_set_new(o, "chip", json_string(device->info.name));
    bad |= json_object_set_new(o, "isa", json_string(device->info.isa));
    bad |= json_object_set_new(o, "peak_bytes",
                               json_integer((json_int_t)mz_device_bytes_peak(device)));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    mz_device *device = NULL;
    const char *in, *out;
    mz_probe_options o = {.hidden = mz_cli_flag(cli, "hidden"),
                          .router_out = mz_cli_flag(cli, "router-out"),
                          .gradients = mz_cli_flag(cli, "gradients"),
                          .decode = mz_cli_flag(cli, "decode"),
                          .greedy = mz_cli_int(cli, "greedy", 0),
                          .adapter = mz_cli_text(cli, "adapter", NULL),
                          .forced = mz_cli_text(cli, "router", NULL)};
    MZ_TRY(needed(cli, "ids", &in));
    MZ_TRY(needed(cli, "out", &out));
    MZ_TRY(mz_cli_dtype(cli, MZ_F32, &o.dtype));
    o.as_stored = !mz_cli_text(cli, "dtype", NULL);
    MZ_TRY(mz_cli_open_chip(cli, &device));
    mz_err err = mz_probe(device, mz_cli_argument(cli, 0), in, out, &o);
    if (err == MZ_OK) err = report(cli, device, out);
    mz_device_close(device);
    return err;
}

const mz_command mz_cmd_probe = {
    .name = "probe",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "write a model's logits, loss, gradients, routers and decode into a file",
    .description = "MODEL is a Hugging Face folder or a GGUF file. Everything written is F32 "
                   "[B,T,...], ids I64; "
                   "OUT appears whole or not at all.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_DTYPE,
    .examples = "mizan probe MODEL --ids in.safetensors --out out.safetensors --gradients",
    .run = run,
};
