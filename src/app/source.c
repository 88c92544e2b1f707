/* SPDX-License-Identifier: Apache-2.0 */
/* app/source.c - a folder, a tokenizer.json or a GGUF file. Floor: app. */
#include "app/source.h"
#include "base/file.h"

#include <string.h>

mz_err mz_app_open_tokenizer(mz_tokenizer **t, const char *source)
{
    mz_map map = {0};
    if (mz_file_is_dir(source)) return mz_tokenizer_open(t, source);
    MZ_TRY(mz_map_open(&map, source));
    const bool is_gguf = map.bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    mz_map_close(&map);
    if (!is_gguf) return mz_tokenizer_open(t, source);
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "%s is a GGUF file, which Mizan does not read yet", source);
    mz_note_where(source, "", 0);
    return err;
}
