/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_name.c - see run_name.h. */
#include "app/run_name.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

mz_err mz_run_find(const char *word, char path[MZ_RUN_PATH])
{
    char yaml[MZ_RUN_PATH];
    MZ_TRY(mz_path_join(yaml, sizeof yaml, word, "train.yaml"));
    if (!mz_file_exists(yaml)) {
        const mz_err err = MZ_FAIL(MZ_EIO, "%s is no run folder: it has no train.yaml", word);
        mz_note_where(word, "train.yaml", -1);
        return err;
    }
    MZ_NEED(strlen(word) < MZ_RUN_PATH, "a path that was joined and does not fit");
    memcpy(path, word, strlen(word) + 1);
    return MZ_OK;
}
