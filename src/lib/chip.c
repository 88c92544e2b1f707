/* SPDX-License-Identifier: Apache-2.0 */
/* lib/chip.c - which chips there are, and opening one as options say. Floor: lib. */
#include "base/options.h"
#include "lib/chips.h"
#include "lib/lib.h"

#include <stdio.h>
#include <string.h>

static mz_err start_status;
static mz_err_info start_error;

static void start(void)
{
    start_status = mz_lib_register_chips();
    start_error = *mz_err_last();
}

mz_err mz_lib_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    if (start_status != MZ_OK) mz_err_restore(&start_error);
    return start_status;
}

mz_err mz_lib_open_device(mz_device **device, const mz_lib_where *w)
{
    mz_options env;
    mz_options_init(&env); /* only to know where compiled programs are kept, and how long to wait */
    const mz_chip_options o = {.threads = w->threads,
                               .isa = w->isa,
                               .driver_path = w->driver_path,
                               .cache_path = env.cache_path,
                               .wait_s = env.device_wait_s};
    MZ_TRY(mz_lib_start());
    return mz_device_open(device, w->chip ? w->chip : "cpu", &o);
}

mz_err mz_lib_dtype(const char *name, mz_dtype *out)
{
    static const struct {
        const char *name;
        mz_dtype dtype;
    } all[] = {{"f32", MZ_F32}, {"bf16", MZ_BF16}, {"f16", MZ_F16}, {"f64", MZ_F64}};
    if (!name) return *out = MZ_F32, MZ_OK;
    for (int i = 0; i < MZ_COUNT(all); i++)
        if (strcmp(name, all[i].name) == 0) return *out = all[i].dtype, MZ_OK;
    return MZ_FAIL(MZ_EUSAGE, "dtype is \"%.32s\", want f32, bf16, f16 or f64", name);
}

/* Chips that are there for tests count too, behind the others. */
static const mz_chip *chip_at(int32_t i)
{
    const int n = mz_lib_start() == MZ_OK ? mz_chip_count() : 0;
    for (int test = 0; test < 2; test++)
        for (int k = 0; k < n; k++)
            if (mz_chip_get(k)->is_test == (test == 1) && i-- == 0) return mz_chip_get(k);
    return NULL;
}

int32_t mz_lm_chip_count(void)
{
    return mz_lib_start() == MZ_OK ? (int32_t)mz_chip_count() : 0;
}

const char *mz_lm_chip_name(int32_t i)
{
    const mz_chip *chip = i >= 0 ? chip_at(i) : NULL;
    return chip ? chip->name : NULL;
}

mz_lm_status mz_lm_chip_ask(const char *name, mz_lm_chip *out)
{
    MZ_LIB_NEED(name && out, "no name, or no place for the answer");
    MZ_LIB_TRY(mz_lib_can_give(out, "mz_lm_chip"));
    mz_device *device = NULL;
    const mz_lib_where w = {.chip = name};
    const mz_err err = mz_lib_open_device(&device, &w);
    if (err != MZ_OK) return mz_lib_status(err);
    const mz_device_info *info = &device->info;
    mz_lm_chip chip = {.is_emulated = info->emulated,
                       .threads = info->threads,
                       .memory_bytes = info->memory_bytes,
                       .memory_free_bytes = info->memory_free_bytes};
    (void)snprintf(chip.name, sizeof chip.name, "%s", info->name);
    (void)snprintf(chip.vendor, sizeof chip.vendor, "%s", info->vendor);
    (void)snprintf(chip.model, sizeof chip.model, "%s", info->model);
    (void)snprintf(chip.driver, sizeof chip.driver, "%s", info->driver);
    (void)snprintf(chip.isa, sizeof chip.isa, "%s", info->isa);
    mz_device_close(device);
    mz_lib_give(out, &chip, sizeof chip);
    return MZ_LM_OK;
}
