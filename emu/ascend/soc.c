/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/soc.c - the chips that can be imitated. */
#include "ascend/state.h"

#include <stdlib.h>
#include <string.h>

#define GIB ((size_t)1 << 30)

static const emu_soc SOCS[] = {
    {"Ascend910B2", true, true, 1984, 64 * GIB},
    {"Ascend910B3", true, true, 1984, 64 * GIB},
    {"Ascend910_9382", true, true, 1984, 64 * GIB},
    {"Ascend950PR_9589", true, true, 1984, 128 * GIB},
    {"Ascend910A", false, false, 2048, 32 * GIB},
    {"Ascend310P3", false, false, 1024, 24 * GIB},
};

static const emu_soc *find(void)
{
    const char *want = getenv("MIZAN_EMU_ASCEND_SOC");
    for (size_t i = 0; want && i < sizeof SOCS / sizeof *SOCS; i++)
        if (strcmp(SOCS[i].name, want) == 0) return &SOCS[i];
    return want ? NULL : &SOCS[0];
}

bool emu_soc_is_known(void)
{
    return find() != NULL;
}

const emu_soc *emu_soc_here(void)
{
    const emu_soc *here = find();
    return here ? here : &SOCS[0]; /* only before aclInit, which refuses it */
}

int emu_device_count(void)
{
    const char *want = getenv("MIZAN_EMU_ASCEND_DEVICES");
    const long n = want ? strtol(want, NULL, 10) : 1;
    return n < 1 ? 1 : n > EMU_DEVICES_MAX ? EMU_DEVICES_MAX : (int)n;
}
