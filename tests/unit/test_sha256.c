/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sha256.c - known sums, and a file's sum is that of its bytes whatever its length:
 * it is read in windows. */
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void known_sums(void **state)
{
    (void)state;
    char hex[MZ_SHA256_HEX];
    assert_int_equal(mz_sha256(hex, "abc", 3), MZ_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(mz_sha256(hex, NULL, 0), MZ_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void files_of_every_length(void **state)
{
    (void)state;
    static const size_t window = 4u << 20;
    const size_t lengths[] = {0, 1, window - 1, window, window + 1, 2 * window, 2 * window + 777};
    char path[] = "/tmp/mz_sha256_XXXXXX";
    unsigned char *bytes = NULL;
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(mz_mem_new(&bytes, (int64_t)(3 * window), 1), MZ_OK);
    for (size_t i = 0; i < 3 * window; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (int i = 0; i < MZ_COUNT(lengths); i++) {
        char want[MZ_SHA256_HEX], got[MZ_SHA256_HEX];
        size_t n = 1;
        assert_int_equal(mz_file_write(path, bytes, lengths[i]), MZ_OK);
        assert_int_equal(mz_sha256(want, bytes, lengths[i]), MZ_OK);
        assert_int_equal(mz_sha256_file(got, path, &n), MZ_OK);
        assert_string_equal(got, want);
        assert_int_equal(n, lengths[i]);
    }
    mz_mem_free(bytes);
    assert_int_equal(unlink(path), 0);
    char hex[MZ_SHA256_HEX];
    assert_int_equal(mz_sha256_file(hex, path, NULL), MZ_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(files_of_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
