/* SPDX-License-Identifier: Apache-2.0 */
/* base/sha256.c - see sha256.h. */
#include "base/sha256.h"
#include "base/file.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <sys/mman.h>

enum { WINDOW = 4 << 20 }; /* a multiple of every page */

static void write_hex(char hex[MZ_SHA256_HEX], const unsigned char sum[32])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned int i = 0; i < 32; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[64] = '\0';
}

mz_err mz_sha256(char hex[MZ_SHA256_HEX], const void *bytes, size_t n)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    MZ_NEED(hex && (bytes || n == 0), "hex or bytes is NULL");
    if (EVP_Digest(n > 0 ? bytes : "", n, sum, &len, EVP_sha256(), NULL) != 1 || len != 32)
        return MZ_FAIL(MZ_ENOMEM, "no memory for a checksum");
    write_hex(hex, sum);
    return MZ_OK;
}

/* Window by window, each given back: a file of gigabytes is not to stand in this process's memory
 * because it was looked at once. */
static bool add_windows(EVP_MD_CTX *c, const mz_map *map)
{
    for (size_t at = 0; at < map->bytes; at += WINDOW) {
        const size_t left = map->bytes - at, n = left < WINDOW ? left : WINDOW;
        union { /* madvise changes nothing of what it points to */
            const unsigned char *in;
            void *out;
        } window = {.in = map->data + at};
        if (EVP_DigestUpdate(c, window.in, n) != 1) return false;
        (void)madvise(window.out, n, MADV_DONTNEED);
    }
    return true;
}

mz_err mz_sha256_file(char hex[MZ_SHA256_HEX], const char *path, size_t *bytes)
{
    mz_map map = {0};
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    MZ_NEED(hex && path, "hex or path is NULL");
    MZ_TRY(mz_map_open(&map, path));
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    const bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1 && add_windows(c, &map) &&
                      EVP_DigestFinal_ex(c, sum, &len) == 1 && len == 32;
    EVP_MD_CTX_free(c);
    if (good) write_hex(hex, sum);
    if (good && bytes) *bytes = map.bytes;
    mz_map_close(&map);
    return good ? MZ_OK : MZ_FAIL(MZ_ENOMEM, "no memory for a checksum");
}
