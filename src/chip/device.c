/* SPDX-License-Identifier: Apache-2.0 */
/* chip/device.c - opening a device by its spec, "name" or "name:argument", and closing it.
 *
 * Floor:  chip. May use tensor, base. */
#include "base/log.h"
#include "base/mem.h"
#include "chip/queue.h"

#include <stdio.h>
#include <string.h>

/* What `spec` should have been: the names there are. Test chips are not advertised. */
static mz_err unknown_chip(const char *name)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *c = mz_chip_get(i);
        if (c->is_test || used + strlen(c->name) + 3 > sizeof known) continue;
        const int n =
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", c->name);
        used += n > 0 ? (size_t)n : 0;
    }
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "this program has no chip named \"%.64s\"", name);
    mz_note_fix("one of: %s", known[0] ? known : "(none is built in)");
    return err;
}

static mz_err split_spec(const char *spec, char *name, size_t name_bytes, const char **arg)
{
    const char *colon = strchr(spec, ':');
    const size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    MZ_NEED(len > 0 && len < name_bytes, "\"%.64s\" is not a chip's name", spec);
    memcpy(name, spec, len);
    name[len] = '\0';
    *arg = colon ? colon + 1 : "";
    return MZ_OK;
}

mz_err mz_device_open(mz_device **device, const char *spec, const mz_chip_options *options)
{
    MZ_NEED(device && spec, "device or spec is NULL");
    char name[64];
    const char *arg = NULL;
    MZ_TRY(split_spec(spec, name, sizeof name, &arg));
    const mz_chip *chip = mz_chip_find(name);
    if (!chip) return unknown_chip(name);
    mz_device *d = NULL;
    MZ_TRY(mz_mem_new(&d, 1, sizeof *d));
    d->chip = chip;
    if (options) d->options = *options;
    snprintf(d->info.name, sizeof d->info.name, "%s", spec);
    const mz_err err = chip->open(d, arg);
    if (err != MZ_OK) {
        (void)mz_device_report(d, err, "opening it", NULL);
        mz_mem_free(d);
        return err;
    }
    *device = d;
    return MZ_OK;
}

void mz_device_close(mz_device *device)
{
    if (!device) return;
    if (device->bytes_used)
        mz_log(MZ_LOG_LOUD, "chip %s is closed with %zu bytes still in buffers", device->info.name,
               device->bytes_used);
    if (device->chip->close) device->chip->close(device);
    mz_mem_free(device);
}

size_t mz_device_bytes_used(const mz_device *device)
{
    return device->bytes_used;
}

void mz_device_restart_peak(mz_device *device)
{
    device->bytes_peak = device->bytes_used;
}

size_t mz_device_bytes_peak(const mz_device *device)
{
    return device->bytes_peak;
}
