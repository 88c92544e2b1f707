/* SPDX-License-Identifier: Apache-2.0 */
/* app/work.c - see work.h. Floor: app. */
#include "app/work.h"

#include <stdio.h>
#include <string.h>

double mz_work_share(const mz_work *w)
{
    const double device = mz_work_sum(w->device).flop, host = mz_work_sum(w->host).flop;
    return device + host > 0.0 ? device / (device + host) : 1.0;
}

static json_t *operator_json(const mz_work *w, mz_op_kind kind)
{
    const mz_work_row *device = &w->device[kind], *host = &w->host[kind];
    return json_pack("{s:s, s:f, s:f, s:f, s:I}", "op", mz_op_name(kind), "device_flop",
                     device->flop, "host_flop", host->flop, "recomputed_flop",
                     device->again + host->again, "launches",
                     (json_int_t)device->launches + (json_int_t)host->launches);
}

json_t *mz_work_json(const mz_work *w, double formula)
{
    const mz_work_row device = mz_work_sum(w->device), host = mz_work_sum(w->host);
    json_t *list = json_array();
    json_t *o = json_pack("{s:f, s:f, s:f, s:f, s:f}", "device_flop", device.flop, "host_flop",
                          host.flop, "device_share", mz_work_share(w), "recomputed_flop",
                          device.again + host.again, "formula_flop", formula);
    int bad = json_object_set_new(o, "operators", list);
    for (int i = 0; i < MZ_OP_COUNT; i++)
        if (w->device[i].launches + w->host[i].launches > 0)
            bad |= json_array_append_new(list, operator_json(w, (mz_op_kind)i));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

void mz_work_tell(const mz_work *w)
{
    char names[256] = "";
    if (mz_work_sum(w->host).launches == 0) return;
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        const size_t at = strlen(names);
        if (w->host[i].launches > 0)
            (void)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "",
                           mz_op_name((mz_op_kind)i));
    }
    fprintf(stderr, "mizan: %.2f %% of the operations ran on the chip, the rest on the host: %s\n",
            100.0 * mz_work_share(w), names);
}
