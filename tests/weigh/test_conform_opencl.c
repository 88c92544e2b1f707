/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/test_conform_opencl.c - the conformance suite on an OpenCL device, where there is
 * one.
 *
 * Fewer cases than on the processor, since the driver compiles some dozen programs first; where it
 * keeps them, the next run has them. */
#include "chips/opencl/opencl.h"
#include "chips/ref/ref.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

static mzt_suite suite;

static void opencl_device(void **state)
{
    (void)state;
    if (mzt_is_sanitized()) {
        print_message("no OpenCL driver runs inside a sanitizer\n");
        skip();
    }
    mz_device *chip = mzt_open_device("opencl", NULL, 0);
    if (!chip) {
        print_message("no OpenCL: %s\n", mz_err_last()->message);
        skip();
    }
    print_message("%s, %s\n", chip->info.model, chip->info.driver);
    mzt_conform_run(&suite, &(mzt_conform){.spec = "opencl", .cases = suite.cases, .least = 40},
                    chip);
    mz_device_close(chip);
}

int main(void)
{
    mzt_suite_begin(&suite, 10);
    if (mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_opencl_chip()) != MZ_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(opencl_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
