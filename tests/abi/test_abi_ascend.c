/* SPDX-License-Identifier: Apache-2.0 */
/* tests/abi/test_abi_ascend.c - the backend's declarations and the emulated driver's, which were
 * written apart, in one file: the compiler refuses it where two of one function differ. */
#include "ascend/aclnn.h" /* of emu/ */
#include "ascend/hccl.h"
#define MZ_HCCL_TYPES_GIVEN
#include "chips/ascend/aclnn.h"
#include "chips/ascend/hccl.h"
#include "tests/near.h"

static void numbers_are_the_same(void **state)
{
    (void)state;
    assert_int_equal(ACL_FLOAT, EMU_FLOAT);
    assert_int_equal(ACL_FLOAT16, EMU_FLOAT16);
    assert_int_equal(ACL_INT8, EMU_INT8);
    assert_int_equal(ACL_INT32, EMU_INT32);
    assert_int_equal(ACL_UINT8, EMU_UINT8);
    assert_int_equal(ACL_INT64, EMU_INT64);
    assert_int_equal(ACL_BOOL, EMU_BOOL);
    assert_int_equal(ACL_BF16, EMU_BF16);
    assert_int_equal(HCCL_DATA_TYPE_FP32, EMU_HCCL_FP32);
    assert_int_equal(HCCL_DATA_TYPE_UINT8, EMU_HCCL_UINT8);
    assert_int_equal(HCCL_REDUCE_SUM, EMU_HCCL_SUM);
    assert_int_equal(ACL_ERROR_REPEAT_INITIALIZE, EMU_REPEAT_INITIALIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
