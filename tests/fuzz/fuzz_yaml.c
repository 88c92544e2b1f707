/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_yaml.c - a training run's configuration; one that is accepted is written and read
 * back to the same. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "train/config.h"

#include <string.h>

static void there_and_back(const mz_train_config *c)
{
    static mz_train_config again;
    mz_str text = {0}, twice = {0};
    MZF_CHECK(mz_config_write(c, &text) == MZ_OK);
    MZF_CHECK(mz_config_load(&again, mzf_file(1, text.text, text.len), NULL, 0) == MZ_OK);
    MZF_CHECK(mz_config_write(&again, &twice) == MZ_OK);
    MZF_CHECK(text.len == twice.len && memcmp(text.text, twice.text, text.len) == 0);
    mz_str_clear(&twice);
    mz_str_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mz_train_config c;
    mzf_begin();
    const mz_err err = mz_config_load(&c, mzf_file(0, data, size), NULL, 0);
    MZF_CHECK(err == MZ_OK || err == MZ_ECONFIG || err == MZ_ECORRUPT || err == MZ_ENOTSUP);
    if (err == MZ_OK) there_and_back(&c);
    mzf_end();
    return 0;
}
