/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/client.h - what clients of the emulated driver are written with: memory with numbers in
 * it, descriptors, and both phases of a call. */
#ifndef MZ_TESTS_EMU_CLIENT_H
#define MZ_TESTS_EMU_CLIENT_H

#include "ascend/aclnn.h"
#include "tests/near.h"

enum { ND = 2 };

static inline void *device(size_t bytes)
{
    void *at = NULL;
    assert_int_equal(aclrtMalloc(&at, bytes, 0), 0);
    return at;
}

static inline void *upload(const void *host, size_t bytes)
{
    void *at = device(bytes);
    assert_int_equal(aclrtMemcpy(at, bytes, host, bytes, 1), 0);
    return at;
}

static inline void download(void *host, const void *at, size_t bytes)
{
    assert_int_equal(aclrtMemcpy(host, bytes, at, bytes, 2), 0);
}

static inline aclTensor *tensor(int type, int64_t rows, int64_t columns, const int64_t *strides,
                                void *at)
{
    const int64_t dims[2] = {rows, columns}, storage = rows * columns;
    aclTensor *t = aclCreateTensor(dims, 2, type, strides, 0, ND, &storage, 1, at);
    assert_non_null(t);
    return t;
}

static inline bool is_near(float got, float want, double limit)
{
    return mzt_near((double)got, (double)want, limit);
}

static inline void finish(int code, uint64_t bytes, aclOpExecutor *x,
                          aclnnStatus (*run)(void *, uint64_t, aclOpExecutor *, aclrtStream))
{
    if (code != 0) print_message("%s\n", aclGetRecentErrMsg());
    assert_int_equal(code, 0);
    assert_int_equal(run(bytes ? device((size_t)bytes) : NULL, bytes, x, NULL), 0);
}

#define CALL(name, ...)                                                                            \
    do {                                                                                           \
        uint64_t bytes_ = 0;                                                                       \
        aclOpExecutor *x_ = NULL;                                                                  \
        const int code_ = aclnn##name##GetWorkspaceSize(__VA_ARGS__, &bytes_, &x_);                \
        finish(code_, bytes_, x_, aclnn##name);                                                    \
    } while (0)

#endif
