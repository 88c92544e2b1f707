/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_isa.c - invented processors: which kernels each may run, what is refused. */
#include "base/mem.h"
#include "tests/op/cpu_rig.h"

#include <string.h>

enum {
    AVX2_1 = 1 << 12 | 1 << 27 | 1 << 28 | 1 << 29, /* FMA OSXSAVE AVX F16C */
    AVX2_7 = 1 << 5,
    TILES_7 = 1 << 22 | 1 << 24,
    BF16_7_1 = 1 << 5
};
static const uint32_t AVX512_7 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */

static mz_cpu_id machine(void) /* everything there is */
{
    return (mz_cpu_id){.leaf1_ecx = AVX2_1,
                       .leaf7_ebx = AVX2_7 | AVX512_7,
                       .leaf7_edx = TILES_7,
                       .leaf7_1_eax = BF16_7_1,
                       .xcr0 = 0x600e7,
                       .amx_granted = true,
                       .model = "Invented 9000"};
}

#if defined(__x86_64__)
/* What "auto" takes. */
static const char *best(const mz_cpu_id *id)
{
    mz_cpu_kernels k = {0};
    assert_int_equal(mz_cpu_isa_choose("auto", id, &k), MZ_OK);
    assert_non_null(k.gemm);
    assert_non_null(k.ops);
    return k.name;
}

static void each_missing_bit_costs_its_set(void **state)
{
    (void)state;
    mz_cpu_id id = machine();
    assert_string_equal(best(&id), "amx");
    id.amx_granted = false;
    assert_string_equal(best(&id), "avx512bf16");
    id = machine(), id.xcr0 = 0xe7; /* a system that does not know tiles */
    assert_string_equal(best(&id), "avx512bf16");
    id = machine(), id.leaf7_1_eax = 0;
    assert_string_equal(best(&id), "avx512");
    id = machine(), id.xcr0 = 0x7; /* a system that does not save ZMM */
    assert_string_equal(best(&id), "avx2");
    for (int bit = 0; bit < 32; bit++) {
        if (!(AVX512_7 >> bit & 1u)) continue;
        id = machine(), id.leaf7_ebx &= ~(1u << bit);
        assert_string_equal(best(&id), "avx2");
    }
    id = machine(), id.xcr0 = 0x3;
    assert_string_equal(best(&id), "portable");
    for (int bit = 0; bit < 32; bit++) {
        if (!((uint32_t)AVX2_1 >> bit & 1u)) continue;
        id = machine(), id.leaf1_ecx &= ~(1u << bit);
        assert_string_equal(best(&id), "portable");
    }
}
#endif

static void a_name_means_the_best_of_its_kind_or_a_refusal(void **state)
{
    (void)state;
    mz_cpu_kernels k = {0};
    mz_cpu_id id = machine();
    assert_int_equal(mz_cpu_isa_choose("portable", &id, &k), MZ_OK);
    assert_string_equal(k.name, "portable");
    assert_int_equal(mz_cpu_isa_choose("sse9", &id, &k), MZ_ECONFIG);
    assert_string_equal(k.name, "portable"); /* untouched */
    id = (mz_cpu_id){.model = "Invented 1"};
#if defined(__x86_64__)
    assert_int_equal(mz_cpu_isa_choose("avx2", &id, &k), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->message, "Invented 1"));
    assert_int_equal(mz_cpu_isa_choose("neon", &id, &k), MZ_ENOTSUP);
    id = machine();
    assert_int_equal(mz_cpu_isa_choose("avx512", &id, &k), MZ_OK);
    assert_string_equal(k.name, "avx512bf16");
    id.leaf7_1_eax = 0;
    assert_int_equal(mz_cpu_isa_choose("avx512", &id, &k), MZ_OK);
    assert_string_equal(k.name, "avx512");
    assert_int_equal(mz_cpu_isa_choose("amx", &id, &k), MZ_ENOTSUP);
#else
    assert_int_equal(mz_cpu_isa_choose("avx2", &id, &k), MZ_ENOTSUP);
#endif
    assert_true(strlen(mz_err_last()->message) > 0);
}

static void the_device_says_what_it_is(void **state)
{
    (void)state;
    rig r;
    assert_true(rig_open(&r, NULL, 3));
    const mz_device_info *info = &r.device->info;
    assert_string_equal(info->name, "cpu");
    assert_int_equal(info->threads, 3);
    assert_true(info->is_host && !info->emulated);
    assert_true(info->memory_bytes > 0 && info->memory_free_bytes <= info->memory_bytes);
    assert_int_equal(info->dtypes, 1u << MZ_F32 | 1u << MZ_BF16 | 1u << MZ_F64);
    assert_true(strlen(info->isa) > 0);
    rig_close(&r);
}

/* So many bytes are shared out among the threads: all of them arrive, and nothing beside. */
static void many_bytes_are_copied_and_zeroed(void **state)
{
    (void)state;
    enum { BYTES = (9 << 20) + 77, LEAD = 3 };
    rig r;
    const int64_t n = BYTES, some = BYTES - 2 * LEAD;
    unsigned char *from = NULL, *back = NULL;
    assert_true(rig_open(&r, "auto", 2));
    assert_int_equal(mz_mem_new(&from, n, 1), MZ_OK);
    assert_int_equal(mz_mem_new(&back, n, 1), MZ_OK);
    for (int64_t i = 0; i < n; i++) from[i] = (unsigned char)(1 + i % 251);
    const mz_tensor all = rig_tensor(&r, MZ_U8, 1, &n, (rig_layout){.lead = LEAD});
    const mz_tensor inner = mz_slice(&all, 0, LEAD, some);
    assert_int_equal(mz_upload(r.q, &all, from), MZ_OK);
    assert_int_equal(mz_download(r.q, back, &all), MZ_OK);
    assert_memory_equal(back, from, n);
    assert_int_equal(mz_zero(r.q, &inner), MZ_OK);
    assert_int_equal(mz_download(r.q, back, &all), MZ_OK);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(back[i], i < LEAD || i >= LEAD + some ? from[i] : 0);
    assert_true(rig_gaps_untouched(&all));
    mz_mem_free(from);
    mz_mem_free(back);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_bytes_are_copied_and_zeroed),
#if defined(__x86_64__)
        cmocka_unit_test(each_missing_bit_costs_its_set),
#endif
        cmocka_unit_test(a_name_means_the_best_of_its_kind_or_a_refusal),
        cmocka_unit_test(the_device_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
