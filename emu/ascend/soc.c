/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/soc.c - the chips that can be imitated: emu/chips.yaml, which the build made a list
 * of, and what was chosen by the environment. */
#include "ascend/book.h"

#include <emu_chips.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
/* A core's cube multiplies 16 x 16 x 16, its vector unit 128 numbers of f16, each clock. */
#define CUBE (2.0 * 16 * 16 * 16 * 1e6)
#define VECTOR (2.0 * 128 * 1e6)

static const emu_soc SOCS[] = {
#define ROW(name, bf16, infnan, streams, mib, cube, vector, mhz, gb_per_s, f32_share)              \
    {                                                                                              \
        name,                                                                                      \
        bf16,                                                                                      \
        infnan,                                                                                    \
        streams,                                                                                   \
        mib * MIB,                                                                                 \
        CUBE * cube * mhz,                                                                         \
        VECTOR * vector * mhz,                                                                     \
        gb_per_s * 1e9,                                                                            \
        f32_share},
    EMU_CHIP_LIST(ROW)
#undef ROW
};

static const emu_soc *named(const char *name)
{
    for (size_t i = 0; name && i < sizeof SOCS / sizeof *SOCS; i++)
        if (strcmp(SOCS[i].name, name) == 0) return &SOCS[i];
    return NULL;
}

static const emu_soc *find(void)
{
    const char *want = getenv("MIZAN_EMU_ASCEND_SOC");
    return want ? named(want) : &SOCS[0];
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

const char *mizan_emulated_ascend_socs(void)
{
    static char names[512];
    size_t n = 0;
    for (size_t i = 0; i < sizeof SOCS / sizeof *SOCS && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? " " : "", SOCS[i].name);
    return names;
}

static int machine_devices(void)
{
    const char *want = getenv("MIZAN_EMU_ASCEND_DEVICES");
    const long n = want ? strtol(want, NULL, 10) : 1;
    return n < 1 ? 1 : n > EMU_DEVICES_MAX ? EMU_DEVICES_MAX : (int)n;
}

/* As documented: numbers with commas between them, up to the first that is none, or no device's. */
int emu_device_visible(int i)
{
    const int n = machine_devices();
    const char *at = getenv("ASCEND_RT_VISIBLE_DEVICES");
    if (!at) return i >= 0 && i < n ? i : -1;
    for (int k = 0; k < EMU_DEVICES_MAX && *at >= '0' && *at <= '9'; k++) {
        char *end = NULL;
        const long number = strtol(at, &end, 10);
        if (number >= n) return -1;
        if (k == i) return (int)number;
        if (*end != ',') return -1;
        at = end + 1;
    }
    return -1;
}

int emu_device_count(void)
{
    int n = 0;
    while (n < EMU_DEVICES_MAX && emu_device_visible(n) >= 0) n++;
    return n;
}

/* ---- modelled time ---- */

int64_t emu_time_of(const emu_cost *cost)
{
    const emu_soc *soc = emu_soc_here();
    const double cube = cost->cube / soc->cube_per_s * (cost->is_f32 ? soc->f32_share : 1.0);
    const double vector = cost->vector / soc->vector_per_s * (cost->is_f32 ? 2.0 : 1.0);
    double seconds = (double)cost->bytes / soc->bytes_per_s;
    if (cube > seconds) seconds = cube;
    if (vector > seconds) seconds = vector;
    return (int64_t)(seconds * 1e9) + EMU_LAUNCH_NS;
}

int64_t emu_time_of_copy(int64_t bytes, bool over_the_link)
{
    const double per_s = over_the_link ? EMU_HOST_GB_PER_S * 1e9 : emu_soc_here()->bytes_per_s;
    return (int64_t)((double)bytes / per_s * 1e9) + EMU_LAUNCH_NS;
}

int64_t emu_time_of_link(int64_t bytes)
{
    return (int64_t)((double)bytes / EMU_LINK_GB_PER_S) + EMU_LAUNCH_NS;
}

int64_t emu_time_of_host(void)
{
    return EMU_HOST_NS;
}
