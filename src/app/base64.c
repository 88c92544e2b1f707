/* SPDX-License-Identifier: Apache-2.0 */
/* app/base64.c - RFC 4648, strict: whole groups, padding, no stray bits. Floor: app. */
#include "app/base64.h"

#include <stdint.h>

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

mz_err mz_base64_write(mz_str *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        uint32_t x = (uint32_t)(unsigned char)bytes[i] << 16;
        if (left > 1) x |= (uint32_t)(unsigned char)bytes[i + 1] << 8;
        if (left > 2) x |= (unsigned char)bytes[i + 2];
        const char group[4] = {LETTERS[x >> 18], LETTERS[x >> 12 & 63],
                               left > 1 ? LETTERS[x >> 6 & 63] : '=',
                               left > 2 ? LETTERS[x & 63] : '='};
        MZ_TRY(mz_str_add(out, group, sizeof group));
    }
    return MZ_OK;
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool mz_base64_read(char *text, size_t n, size_t *bytes)
{
    size_t used = 0;
    if (n % 4 != 0) return false;
    for (size_t i = 0; i < n; i += 4) {
        const bool last = i + 4 == n;
        const int pad =
            last ? (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=') : 0;
        uint32_t x = 0;
        for (int k = 0; k < 4; k++) {
            const int value = k >= 4 - pad ? 0 : value_of(text[i + (size_t)k]);
            if (value < 0) return false;
            x = x << 6 | (uint32_t)value;
        }
        if ((pad == 1 && (x & 0xff)) || (pad == 2 && (x & 0xffff))) return false;
        for (int k = 0; k < 3 - pad; k++) text[used++] = (char)(x >> (16 - 8 * k));
    }
    *bytes = used;
    return true;
}
