/* SPDX-License-Identifier: Apache-2.0 */
/* base/sha256.c - see sha256.h. */
#include "base/sha256.h"
#include "base/file.h"

#include <openssl/evp.h>

mz_err mz_sha256(char hex[MZ_SHA256_HEX], const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    MZ_NEED(hex && (bytes || n == 0), "hex or bytes is NULL");
    if (EVP_Digest(n > 0 ? bytes : "", n, sum, &len, EVP_sha256(), NULL) != 1 || len != 32)
        return MZ_FAIL(MZ_ENOMEM, "no memory for a checksum");
    for (unsigned int i = 0; i < 32; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[64] = '\0';
    return MZ_OK;
}

mz_err mz_sha256_file(char hex[MZ_SHA256_HEX], const char *path, size_t *bytes)
{
    mz_map map = {0};
    MZ_TRY(mz_map_open(&map, path));
    mz_err err = mz_sha256(hex, map.data, map.bytes);
    if (err == MZ_OK) err = mz_map_intact(&map, path);
    if (err == MZ_OK && bytes) *bytes = map.bytes;
    mz_map_close(&map);
    return err;
}
