/* SPDX-License-Identifier: Apache-2.0 */
/* file/input.c - see input.h. */
#include "file/input.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

struct mz_input {
    char path[1024];
    mz_map map;
    size_t at;
    ZSTD_DCtx *zstd; /* NULL: the file is plain */
    size_t in_frame; /* what zstd says is missing of the frame; 0 between frames */
};

static bool is_zstd(const mz_map *map)
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    return map->bytes >= sizeof magic && memcmp(map->data, magic, sizeof magic) == 0;
}

mz_err mz_input_open(mz_input **out, const char *path)
{
    mz_input *in = NULL;
    MZ_NEED(out && path, "no path, or no place for the file");
    MZ_TRY(mz_mem_new(&in, 1, sizeof *in));
    (void)snprintf(in->path, sizeof in->path, "%s", path);
    mz_err err = mz_map_open(&in->map, path);
    if (err == MZ_OK && is_zstd(&in->map)) {
        in->zstd = ZSTD_createDCtx();
        if (!in->zstd) err = MZ_FAIL(MZ_ENOMEM, "no memory to unpack %s", path);
    }
    if (err != MZ_OK) {
        mz_input_close(in);
        return err;
    }
    *out = in;
    return MZ_OK;
}

void mz_input_close(mz_input *in)
{
    if (!in) return;
    (void)ZSTD_freeDCtx(in->zstd);
    mz_map_close(&in->map);
    mz_mem_free(in);
}

static mz_err damaged(const mz_input *in, const char *what)
{
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is no whole zstd file: %s", in->path, what);
    mz_note_where(in->path, "zstd", (int64_t)in->at);
    return err;
}

static mz_err unpack(mz_input *in, void *bytes, size_t room, size_t *n)
{
    ZSTD_outBuffer to = {bytes, room, 0};
    while (to.pos == 0 && (in->at < in->map.bytes || in->in_frame > 0)) {
        ZSTD_inBuffer from = {in->map.data, in->map.bytes, in->at};
        const size_t left = ZSTD_decompressStream(in->zstd, &to, &from);
        if (ZSTD_isError(left)) return damaged(in, ZSTD_getErrorName(left));
        const bool is_stuck = from.pos == in->at && to.pos == 0;
        in->at = from.pos;
        in->in_frame = left;
        if (is_stuck) return damaged(in, "it ends in the middle");
    }
    *n = to.pos;
    return MZ_OK;
}

mz_err mz_input_read(mz_input *in, void *bytes, size_t room, size_t *n)
{
    MZ_NEED(in && bytes && room > 0 && n, "an argument is NULL, or there is no room");
    if (in->zstd) return unpack(in, bytes, room, n);
    const size_t left = in->map.bytes - in->at, here = left < room ? left : room;
    if (here > 0) memcpy(bytes, in->map.data + in->at, here);
    in->at += here;
    *n = here;
    return MZ_OK;
}

size_t mz_input_taken(const mz_input *in)
{
    return in->at;
}

size_t mz_input_size(const mz_input *in)
{
    return in->map.bytes;
}
