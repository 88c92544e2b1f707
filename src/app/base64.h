/* SPDX-License-Identifier: Apache-2.0 */
/* app/base64.h - bytes in JSON (RFC 4648, padded). Floor: app. */
#ifndef MZ_APP_BASE64_H
#define MZ_APP_BASE64_H

#include "base/str.h"

mz_err mz_base64_write(mz_str *out, const char *bytes, size_t n);
/* In place; false if it is not base64. */
bool mz_base64_read(char *text, size_t n, size_t *bytes);

#endif
