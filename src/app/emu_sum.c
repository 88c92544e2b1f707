/* SPDX-License-Identifier: Apache-2.0 */
/* app/emu_sum.c - what the processes under an emulated driver counted, added up. Floor: app. */
#include "app/emu.h"
#include "base/file.h"
#include "base/folder.h"

#include <stdio.h>
#include <string.h>

/* Counters of which the largest is meant, not the sum. */
static bool is_a_height(const char *name)
{
    return strcmp(name, "bytes_peak") == 0 || strcmp(name, "modelled_ns") == 0;
}

static int add_device(json_t *total, const json_t *device)
{
    int bad = 0;
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)device, name, value)
    {
        if (strcmp(name, "device") == 0) continue;
        const json_int_t old = json_integer_value(json_object_get(total, name));
        const json_int_t x = json_integer_value(value);
        const json_int_t sum = is_a_height(name) ? (x > old ? x : old) : old + x;
        bad |= json_object_set_new(total, name, json_integer(sum));
    }
    return bad;
}

/* A file that is no JSON is that of a process that was stopped while it wrote its first. */
static int add_process(json_t *processes, json_t *total, const char *path)
{
    json_t *one = json_load_file(path, 0, NULL);
    size_t i;
    const json_t *device;
    int bad = 0;
    if (!one) return 0;
    json_array_foreach(json_object_get(one, "devices"), i, device)
    {
        bad |= add_device(total, device);
    }
    return bad | json_array_append_new(processes, one);
}

mz_err mz_emu_sum(json_t **sum, const char *folder)
{
    mz_names names = {0};
    json_t *o = json_object(), *processes = json_array(), *total = json_object();
    int bad = !o || !processes || !total;
    mz_err err = mz_folder_list(&names, folder);
    for (int64_t i = 0; i < names.n && err == MZ_OK && !bad; i++) {
        char path[PATH_MAX];
        err = mz_path_join(path, sizeof path, folder, names.list[i]);
        if (err == MZ_OK) bad = add_process(processes, total, path);
    }
    mz_names_clear(&names);
    if (!bad) bad = json_object_set(o, "processes", processes) | json_object_set(o, "total", total);
    json_decref(processes);
    json_decref(total);
    if (err == MZ_OK && bad) err = mz_cli_json_failed();
    if (err != MZ_OK)
        json_decref(o);
    else
        *sum = o;
    return err;
}

void mz_emu_sum_print(const json_t *sum, const char *soc)
{
    const json_t *total = json_object_get(sum, "total");
    const size_t n = json_array_size(json_object_get(sum, "processes"));
    char peak[32], up[32], down[32], sent[32];
#define OF(name) ((double)json_integer_value(json_object_get(total, name)))
    mz_str_bytes(peak, OF("bytes_peak"));
    mz_str_bytes(up, OF("bytes_up"));
    mz_str_bytes(down, OF("bytes_down"));
    mz_str_bytes(sent, OF("link_bytes"));
    if (n == 0)
        fprintf(stderr, "emulated %s: no process opened the driver\n", soc);
    else
        fprintf(stderr,
                "emulated %s, %zu process%s: %.0f operators, %.3g GFLOP on the cube and %.3g on "
                "vector units; %s up, %s down, at most %s in use; %.0f waits of the host; "
                "%.0f planned faults; %.3f ms modelled, not measured\n",
                soc, n, n == 1 ? "" : "es", OF("operators"), OF("cube_flop") * 1e-9,
                OF("vector_flop") * 1e-9, up, down, peak, OF("host_waits"), OF("faults"),
                OF("modelled_ns") * 1e-6);
    if (OF("collectives") > 0)
        fprintf(stderr, "emulated %s: %.0f collectives, %s sent to other devices\n", soc,
                OF("collectives"), sent);
#undef OF
}
