/* SPDX-License-Identifier: Apache-2.0 */
/* lib/chips.c - the one list of the chips that are built in. A new chip is a folder and a row.
 * Floor: lib. */
#include "lib/chips.h"

#include "chips/ascend/ascend.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/fault/fault.h"
#include "chips/hosted/hosted.h"
#include "chips/opencl/opencl.h"
#include "chips/ref/ref.h"

mz_err mz_lib_register_chips(void)
{
    const mz_chip *const chips[] = {mz_cpu_chip(), mz_ascend_chip(), mz_opencl_chip(), &mz_chip_ref,
                                    mz_far_chip(), mz_hosted_chip(), mz_fault_chip()};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_find(chips[i]->name) != chips[i]) MZ_TRY(mz_chip_register(chips[i]));
    return MZ_OK;
}
