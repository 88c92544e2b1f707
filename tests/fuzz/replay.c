/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/replay.c - runs a fuzz target without libFuzzer: on every file of the folders given,
 * cut at every byte, and with every byte changed in several ways.
 *
 *   fuzz_NAME FOLDER...
 *
 * MIZAN_TEST_SHARE (percent) thins out the damage, not the files. */
#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long runs;

/* On a copy of just that size, so that a byte past the end is seen. */
static void run(const char *bytes, size_t n)
{
    uint8_t *copy = NULL;
    MZF_CHECK(mz_mem_new(&copy, (int64_t)n, 1) == MZ_OK);
    if (n > 0) memcpy(copy, bytes, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    mz_mem_free(copy);
    runs++;
}

static void damage(char *bytes, size_t n, size_t step)
{
    static const unsigned char change[] = {0x01, 0x20, 0x80, 0xff};
    for (size_t i = 0; i < n; i += step) run(bytes, i);
    for (size_t i = 0; i < n; i += step)
        for (int k = 0; k < MZ_COUNT(change); k++) {
            bytes[i] = (char)(bytes[i] ^ change[k]);
            run(bytes, n);
            bytes[i] = (char)(bytes[i] ^ change[k]);
        }
}

static int replay(const char *folder, size_t step)
{
    mz_names names = {0};
    char path[1024];
    if (mz_folder_list(&names, folder) != MZ_OK || names.n == 0) return -1;
    for (int64_t i = 0; i < names.n; i++) {
        char *bytes = NULL;
        size_t n = 0;
        MZF_CHECK(mz_path_join(path, sizeof path, folder, names.list[i]) == MZ_OK);
        MZF_CHECK(mz_file_read(path, 1 << 24, &bytes, &n) == MZ_OK);
        run(bytes, n);
        if (n <= 1 << 14) damage(bytes, n, step);
        mz_mem_free(bytes);
    }
    mz_names_clear(&names);
    return 0;
}

int main(int argc, char **argv)
{
    const char *share = getenv("MIZAN_TEST_SHARE");
    const long percent = share ? strtol(share, NULL, 10) : 100;
    const size_t step = percent > 0 && percent < 100 ? (size_t)(100 / percent) : 1;
    for (int i = 1; i < argc; i++)
        if (replay(argv[i], step) != 0) {
            fprintf(stderr, "%s: no corpus there\n", argv[i]);
            return 1;
        }
    printf("%ld inputs\n", runs);
    return argc > 1 && runs > 0 ? 0 : 1;
}
