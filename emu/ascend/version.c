/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/version.c - which CANN the emulated driver says that it belongs to.
 *
 * MIZAN_EMU_ASCEND_CANN, which `mizan emu --cann` sets, or 8.5.0. Clients choose by it what they
 * call; what the emulated driver has does not change. */
#include "ascend/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRIVER = 7, PARTS = 4, PART = 64 };

static const char *version(void)
{
    const char *want = getenv("MIZAN_EMU_ASCEND_CANN");
    return want && want[0] ? want : "8.5.0";
}

aclError aclsysGetCANNVersion(aclCANNPackageName package, aclCANNPackageVersion *out)
{
    if (!out || package < 0 || package > DRIVER)
        return emu_fail(EMU_INVALID_PARAM, "aclsysGetCANNVersion: NULL, or there is no package %d",
                        package);
    char *const parts[PARTS] = {out->majorVersion, out->minorVersion, out->releaseVersion,
                                out->patchVersion};
    memset(out, 0, sizeof *out);
    (void)snprintf(out->version, sizeof out->version, "%s", version());
    const char *at = out->version;
    for (int i = 0; i < PARTS && *at; i++) {
        const size_t n = i + 1 < PARTS ? strcspn(at, ".") : strlen(at);
        (void)snprintf(parts[i], PART, "%.*s", (int)n, at);
        at += n + (at[n] == '.');
    }
    return 0;
}

aclError aclsysGetVersionStr(char *package, char *out)
{
    static const char *const packages[] = {"runtime", "opbase",          "ops_math", "ops_nn",
                                           "ops_cv",  "ops_transformer", "hccl",     "ops_legacy"};
    if (!package || !out) return emu_fail(EMU_INVALID_PARAM, "aclsysGetVersionStr: NULL");
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++) {
        if (strcmp(packages[i], package) != 0) continue;
        (void)snprintf(out, sizeof((aclCANNPackageVersion *)0)->version, "%s", version());
        return 0;
    }
    return emu_fail(EMU_INVALID_FILE, "aclsysGetVersionStr: there is no package %s", package);
}
