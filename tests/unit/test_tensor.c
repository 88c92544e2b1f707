/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_tensor.c - shapes and views against the plain list of the elements they name. */
#include "base/rng.h"
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ELEMENTS_MAX = 4096 };

/* What a view means: the index, in elements from the buffer's start, of each of its elements in
 * row-major order. */
typedef struct {
    int64_t n, at[ELEMENTS_MAX];
} list;

static void list_view(list *l, const mz_tensor *t)
{
    int64_t index[MZ_RANK_MAX] = {0};
    l->n = 0;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] == 0) return;
    for (;;) {
        int64_t at = (int64_t)(t->offset_bytes / mz_dtype_bytes(t->dtype));
        for (int i = 0; i < t->rank; i++) at += index[i] * t->stride[i];
        assert_true(l->n < ELEMENTS_MAX);
        l->at[l->n++] = at;
        int axis = t->rank - 1;
        while (axis >= 0 && ++index[axis] == t->dim[axis]) index[axis--] = 0;
        if (axis < 0) return;
    }
}

static mz_buffer *a_buffer(void)
{
    static char place;
    return (mz_buffer *)(void *)&place; /* only its address is used */
}

static mz_tensor random_view(mz_rng *r, bool is_strided)
{
    int64_t dim[MZ_RANK_MAX];
    const int rank = (int)mz_rng_below(r, MZ_RANK_MAX + 1);
    static const mz_dtype dtypes[] = {MZ_F64, MZ_F32, MZ_BF16, MZ_U8};
    const mz_dtype dtype = dtypes[mz_rng_below(r, 4)];
    for (int i = 0; i < rank; i++) dim[i] = (int64_t)mz_rng_below(r, 5);
    mz_tensor t = mz_view(a_buffer(), mz_rng_below(r, 9) * mz_dtype_bytes(dtype), dtype, rank, dim);
    if (is_strided && rank > 0) { /* gaps, transposes and repeats */
        const uint64_t axis = mz_rng_below(r, (uint64_t)rank);
        t.stride[axis] = (int64_t)mz_rng_below(r, 7);
    }
    return t;
}

static bool is_run(const list *l)
{
    for (int64_t i = 1; i < l->n; i++)
        if (l->at[i] != l->at[0] + i) return false;
    return true;
}

static void check_view(const mz_tensor *t)
{
    static list l;
    int64_t last = -1;
    const int64_t row = t->rank > 0 ? t->dim[t->rank - 1] : 1;
    bool rows_run = true;
    list_view(&l, t);
    for (int64_t i = 0; i < l.n; i++) {
        if (l.at[i] > last) last = l.at[i];
        if (i % row != 0) rows_run &= l.at[i] == l.at[i - 1] + 1;
    }
    assert_int_equal(mz_count(t), l.n);
    assert_int_equal(mz_is_dense(t), is_run(&l));
    if (l.n > 0) assert_int_equal(mz_rows_are_dense(t), rows_run);
    assert_int_equal(mz_extent_bytes(t), (size_t)(last + 1) * mz_dtype_bytes(t->dtype));
}

static void views_name_the_elements_they_should(void **state)
{
    (void)state;
    mz_rng r;
    mz_rng_init(&r, 1, 1);
    for (int i = 0; i < 5000; i++) {
        const mz_tensor t = random_view(&r, i % 2 == 0);
        int64_t count;
        size_t bytes;
        check_view(&t);
        assert_int_equal(mz_shape_count(t.rank, t.dim, &count), MZ_OK);
        assert_int_equal(count, mz_count(&t));
        assert_int_equal(mz_shape_bytes(t.dtype, t.rank, t.dim, &bytes), MZ_OK);
        assert_int_equal(bytes, (size_t)count * mz_dtype_bytes(t.dtype));
        if (i % 2 != 0) assert_true(mz_is_dense(&t)); /* straight from mz_view */
    }
}

/* Slices of slices: each names those elements whose index on the axis lies in the range. */
static void slices_name_a_part(void **state)
{
    (void)state;
    static list whole, part;
    mz_rng r;
    mz_rng_init(&r, 2, 1);
    for (int round = 0; round < 5000; round++) {
        mz_tensor t = random_view(&r, round % 2 == 0);
        for (int depth = 0; depth < 3 && t.rank > 0; depth++) {
            const int axis = (int)mz_rng_below(&r, (uint64_t)t.rank);
            const int64_t start = (int64_t)mz_rng_below(&r, (uint64_t)t.dim[axis] + 1);
            const int64_t n = (int64_t)mz_rng_below(&r, (uint64_t)(t.dim[axis] - start) + 1);
            const mz_tensor s = mz_slice(&t, axis, start, n);
            assert_true(s.buf == t.buf && s.dtype == t.dtype && s.rank == t.rank);
            list_view(&whole, &t);
            list_view(&part, &s);
            int64_t inner = 1, k = 0;
            for (int i = axis + 1; i < t.rank; i++) inner *= t.dim[i];
            for (int64_t i = 0; i < whole.n; i++) {
                const int64_t x = i / inner % t.dim[axis];
                if (x < start || x >= start + n) continue;
                assert_true(k < part.n && part.at[k] == whole.at[i]);
                k++;
            }
            assert_int_equal(k, part.n);
            check_view(&s);
            t = s;
        }
    }
}

static bool is_nothing(mz_tensor t)
{
    return !t.buf && t.rank == 0 && t.offset_bytes == 0;
}

static void slices_outside_are_nothing(void **state)
{
    (void)state;
    const mz_tensor t = mz_view(a_buffer(), 0, MZ_F32, 2, (int64_t[]){3, 4});
    assert_false(is_nothing(mz_slice(&t, 1, 4, 0)));
    assert_true(is_nothing(mz_slice(&t, 1, 4, 1)));
    assert_true(is_nothing(mz_slice(&t, 1, 5, 0)));
    assert_true(is_nothing(mz_slice(&t, 1, -1, 1)));
    assert_true(is_nothing(mz_slice(&t, 1, 0, -1)));
    assert_true(is_nothing(mz_slice(&t, 1, 1, INT64_MAX)));
    assert_true(is_nothing(mz_slice(&t, 2, 0, 1)));
    assert_true(is_nothing(mz_slice(&t, -1, 0, 1)));
    assert_true(is_nothing(mz_slice(NULL, 0, 0, 1)));
    mz_tensor far_away = t;
    far_away.offset_bytes = SIZE_MAX - 10;
    assert_true(is_nothing(mz_slice(&far_away, 0, 1, 1)));
    far_away = t;
    far_away.stride[0] = INT64_MAX / 2;
    assert_true(is_nothing(mz_slice(&far_away, 0, 2, 1)));
    /* half bytes have no address */
    const mz_tensor f4 = mz_view(a_buffer(), 0, MZ_F4, 1, (int64_t[]){8});
    assert_true(is_nothing(mz_slice(&f4, 0, 3, 1)));
    assert_int_equal(mz_slice(&f4, 0, 4, 2).offset_bytes, 2);
}

static void reshape_keeps_the_elements(void **state)
{
    (void)state;
    static list before, after;
    const mz_tensor t = mz_view(a_buffer(), 16, MZ_F32, 2, (int64_t[]){6, 4});
    const int64_t shapes[][MZ_RANK_MAX] = {{24}, {2, 12}, {2, 3, 4}, {1, 24, 1}, {2, 3, 2, 2}};
    const int ranks[] = {1, 2, 3, 3, 4};
    list_view(&before, &t);
    for (int i = 0; i < MZ_COUNT(shapes); i++) {
        const mz_tensor s = mz_reshape(&t, ranks[i], shapes[i]);
        list_view(&after, &s);
        assert_memory_equal(&before, &after, sizeof after);
        assert_int_equal(s.rank, ranks[i]);
    }
    assert_true(is_nothing(mz_reshape(&t, 1, (int64_t[]){23})));
    assert_true(is_nothing(mz_reshape(&t, 2, (int64_t[]){-6, -4})));
    assert_true(is_nothing(mz_reshape(&t, 5, (int64_t[]){24, 1, 1, 1, 1})));
    assert_true(is_nothing(mz_reshape(NULL, 1, (int64_t[]){24})));
    const mz_tensor gaps = mz_slice(&t, 1, 0, 2);
    assert_true(is_nothing(mz_reshape(&gaps, 1, (int64_t[]){12})));
    const mz_tensor rows = mz_slice(&t, 0, 1, 2), flat = mz_reshape(&rows, 1, (int64_t[]){8});
    assert_int_equal(flat.offset_bytes, 32);
    const mz_tensor scalar = mz_view(a_buffer(), 4, MZ_F32, 0, NULL);
    assert_int_equal(mz_count(&scalar), 1);
    assert_int_equal(mz_extent_bytes(&scalar), 8);
    assert_int_equal(mz_reshape(&scalar, 1, (int64_t[]){1}).dim[0], 1);
}

static void shapes_that_overflow_are_refused(void **state)
{
    (void)state;
    const int64_t huge = (int64_t)1 << 32,
                  bad[][MZ_RANK_MAX] = {{huge, huge, 1, 1},     {huge, huge, huge, huge},
                                        {huge, huge / 2, 1, 1}, {0, huge, huge, 1},
                                        {huge, huge, 0, 1},     {-1, 1, 1, 1},
                                        {-huge, -huge, 1, 1},   {0, -1, 1, 1},
                                        {INT64_MAX, 2, 1, 1},   {INT64_MIN, 1, 1, 1}};
    int64_t count = 77;
    size_t bytes = 77;
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        assert_int_equal(mz_shape_count(4, bad[i], &count), MZ_EINVAL);
        assert_int_equal(mz_shape_bytes(MZ_U8, 4, bad[i], &bytes), MZ_EINVAL);
        assert_true(is_nothing(mz_view(a_buffer(), 8, MZ_U8, 4, bad[i])));
    }
    const int64_t wide[1] = {INT64_MAX};
    assert_int_equal(mz_shape_bytes(MZ_F64, 1, wide, &bytes), MZ_EINVAL); /* elements, not bytes */
    assert_int_equal(mz_shape_bytes((mz_dtype)99, 1, (int64_t[]){1}, &bytes), MZ_EINVAL);
    assert_int_equal(mz_shape_count(5, bad[0], &count), MZ_EINVAL);
    assert_int_equal(mz_shape_count(-1, bad[0], &count), MZ_EINVAL);
    assert_int_equal(mz_shape_count(1, NULL, &count), MZ_EINVAL);
    assert_true(count == 77 && bytes == 77);
    assert_int_equal(mz_shape_count(1, wide, &count), MZ_OK);
    assert_true(count == INT64_MAX);
    assert_int_equal(mz_shape_count(0, NULL, &count), MZ_OK);
    assert_true(count == 1);
    /* less than a byte: rounded up as a whole */
    assert_int_equal(mz_shape_bytes(MZ_F4, 2, (int64_t[]){3, 3}, &bytes), MZ_OK);
    assert_int_equal(bytes, 5);
    assert_int_equal(mz_shape_bytes(MZ_F6_E2M3, 1, (int64_t[]){4}, &bytes), MZ_OK);
    assert_int_equal(bytes, 3);
    assert_int_equal(mz_shape_bytes(MZ_F4, 1, (int64_t[]){0}, &bytes), MZ_OK);
    assert_int_equal(bytes, 0);
}

static void extents_that_overflow_fit_nowhere(void **state)
{
    (void)state;
    mz_tensor t = mz_view(a_buffer(), 0, MZ_F32, 2, (int64_t[]){3, 4});
    assert_int_equal(mz_extent_bytes(&t), 48);
    t.offset_bytes = SIZE_MAX - 47;
    assert_true(mz_extent_bytes(&t) == SIZE_MAX);
    t.offset_bytes = 0;
    t.stride[0] = INT64_MAX / 2;
    assert_true(mz_extent_bytes(&t) == SIZE_MAX);
    t.stride[0] = (int64_t)1 << 61; /* elements fit, bytes do not */
    assert_true(mz_extent_bytes(&t) == SIZE_MAX);
    t.stride[0] = -1; /* the last element lies inside, the others may not */
    assert_true(mz_extent_bytes(&t) == SIZE_MAX);
    t.stride[0] = 4;
    t.dim[0] = -3;
    assert_true(mz_extent_bytes(&t) == SIZE_MAX);
}

static void dtypes_have_sizes_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        mz_dtype want;
    } names[] = {{"BF16", MZ_BF16},
                 {"bf16", MZ_BF16},
                 {"bfloat16", MZ_BF16},
                 {"torch.bfloat16", MZ_BF16},
                 {"float32", MZ_F32},
                 {"float", MZ_F32},
                 {"half", MZ_F16},
                 {"double", MZ_F64},
                 {"F8_E4M3", MZ_F8_E4M3},
                 {"float8_e4m3fn", MZ_F8_E4M3},
                 {"float8_e5m2", MZ_F8_E5M2},
                 {"F8_E8M0", MZ_F8_E8M0},
                 {"int64", MZ_I64},
                 {"long", MZ_I64},
                 {"uint8", MZ_U8},
                 {"bool", MZ_BOOL},
                 {"C64", MZ_C64},
                 {"F4", MZ_F4}};
    mz_dtype d = MZ_I16;
    for (int i = 0; i < MZ_DTYPE_PLAIN_COUNT; i++) {
        assert_true(mz_dtype_parse(mz_dtype_name((mz_dtype)i), &d) && d == (mz_dtype)i);
        assert_int_equal(mz_dtype_bytes(d), mz_dtype_bits(d) / 8);
        assert_int_equal(mz_dtype_is_float(d),
                         d == MZ_F64 || d == MZ_F32 || d == MZ_BF16 || d == MZ_F16);
        assert_int_equal(mz_dtype_acc(d), d == MZ_F64 ? MZ_F64 : MZ_F32);
    }
    for (int i = 0; i < MZ_COUNT(names); i++) {
        assert_true(mz_dtype_parse(names[i].name, &d));
        assert_int_equal(d, names[i].want);
    }
    d = MZ_I16;
    assert_false(mz_dtype_parse("float3", &d) || mz_dtype_parse("", &d) ||
                 mz_dtype_parse(NULL, &d) || mz_dtype_parse("BF16 ", &d));
    assert_int_equal(d, MZ_I16);
    assert_int_equal(mz_dtype_bytes(MZ_F64), 8);
    assert_int_equal(mz_dtype_bytes(MZ_BF16), 2);
    assert_int_equal(mz_dtype_bytes(MZ_F8_E4M3), 1);
    assert_int_equal(mz_dtype_bytes(MZ_F4), 0);
    assert_int_equal(mz_dtype_bits(MZ_F4), 4);
    assert_int_equal(mz_dtype_bits((mz_dtype)MZ_DTYPE_COUNT), 0);
    assert_string_equal(mz_dtype_name((mz_dtype)MZ_DTYPE_COUNT), "?");
    assert_false(mz_dtype_is_float((mz_dtype)-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_name_the_elements_they_should),
        cmocka_unit_test(slices_name_a_part),
        cmocka_unit_test(slices_outside_are_nothing),
        cmocka_unit_test(reshape_keeps_the_elements),
        cmocka_unit_test(shapes_that_overflow_are_refused),
        cmocka_unit_test(extents_that_overflow_fit_nowhere),
        cmocka_unit_test(dtypes_have_sizes_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
