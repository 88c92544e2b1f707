/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/makes.h - an operator's output beside numbers worked out by hand: MAKES and its kin. */
#ifndef MZ_TESTS_EMU_MAKES_H
#define MZ_TESTS_EMU_MAKES_H

#include "tests/emu/client.h"

enum { MOST = 16 };

static inline int start(void **state)
{
    (void)state;
    assert_int_equal(aclInit(NULL), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
    return 0;
}

static inline aclTensor *reals(int rank, const int64_t *dims, const float *numbers)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dims[i];
    return aclCreateTensor(dims, (uint64_t)rank, EMU_FLOAT, NULL, 0, ND, dims, (uint64_t)rank,
                           upload(numbers, n * sizeof *numbers));
}

static inline aclScalar *number(double x)
{
    return aclCreateScalar(&x, EMU_DOUBLE);
}

static inline void expect(const char *name, void *at, int n, const float *want)
{
    float got[MOST];
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, at, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++)
        if (!is_near(got[i], want[i], 1e-6))
            fail_msg("%s, %d: %.8g, want %.8g", name, i, (double)got[i], (double)want[i]);
}

/* Runs aclnnNAME(..., y) for an output of n numbers in one axis, which become `want`. */
#define MAKES(name, n, want, ...)                                                                  \
    do {                                                                                           \
        const int64_t dims_[] = {n};                                                               \
        void *at_ = device((n) * sizeof(float));                                                   \
        aclTensor *y_ = aclCreateTensor(dims_, 1, EMU_FLOAT, NULL, 0, ND, dims_, 1, at_);          \
        CALL(name, __VA_ARGS__, y_);                                                               \
        expect(#name, at_, n, want);                                                               \
    } while (0)
#define WANT(...) ((const float[]){__VA_ARGS__})

static inline aclTensor *ids(int64_t n, const int64_t *numbers)
{
    return aclCreateTensor(&n, 1, EMU_INT64, NULL, 0, ND, &n, 1,
                           n ? upload(numbers, (size_t)n * sizeof *numbers) : device(64));
}

/* Runs aclnnNAME(..., y) for an output of these two axes. */
#define MAKES_MATRIX(name, rows, columns, want, ...)                                               \
    do {                                                                                           \
        void *at_ = device((rows) * (columns) * sizeof(float));                                    \
        aclTensor *y_ = tensor(EMU_FLOAT, rows, columns, NULL, at_);                               \
        CALL(name, __VA_ARGS__, y_);                                                               \
        expect(#name, at_, (rows) * (columns), want);                                              \
    } while (0)

#endif
