/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/isa.c - finds out what the processor and its system can run, and picks the kernels.
 *
 * An instruction set counts only if the system saves its registers (XCR0): a processor with AVX-512
 * under a system without would fault at the first instruction.
 * Source: the processor vendors' manuals for the bit numbers of CPUID and XCR0. */
#include "chips/cpu/isa.h"

#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool has(uint64_t word, int bit)
{
    return (word >> bit & 1u) != 0;
}

static bool runs_avx2(const mz_cpu_id *id)
{
    const uint64_t ymm = 0x6; /* XMM and upper YMM halves */
    const uint32_t c = id->leaf1_ecx;
    return has(c, 12) && has(c, 27) && has(c, 28) && has(c, 29) /* FMA, OSXSAVE, AVX, F16C */
           && has(id->leaf7_ebx, 5) && (id->xcr0 & ymm) == ymm;
}

static bool runs_avx512(const mz_cpu_id *id)
{
    const uint64_t zmm = 0xe6; /* and mask registers, upper ZMM halves, ZMM16-31 */
    const uint32_t b = id->leaf7_ebx;
    return runs_avx2(id) && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31) /* F, DQ, BW, VL */
           && (id->xcr0 & zmm) == zmm;
}

static bool runs_avx512bf16(const mz_cpu_id *id)
{
    return runs_avx512(id) && has(id->leaf7_1_eax, 5);
}

static bool runs_amx(const mz_cpu_id *id)
{
    const uint64_t tiles = 0x60000; /* tile configuration and data */
    return runs_avx512bf16(id) && has(id->leaf7_edx, 22) && has(id->leaf7_edx, 24) /* BF16, TILE */
           && (id->xcr0 & tiles) == tiles && id->amx_granted;
}

bool mz_cpu_isa_runs(mz_cpu_isa isa, const mz_cpu_id *id)
{
    switch (isa) {
    case MZ_CPU_ISA_portable:
        return true;
    case MZ_CPU_ISA_avx2:
        return runs_avx2(id);
    case MZ_CPU_ISA_avx512:
        return runs_avx512(id);
    case MZ_CPU_ISA_avx512bf16:
        return runs_avx512bf16(id);
    case MZ_CPU_ISA_amx:
        return runs_amx(id);
    case MZ_CPU_ISA_neon:
        return true; /* part of the 64-bit Arm baseline; not built elsewhere */
    case MZ_CPU_ISA_COUNT:
        break;
    }
    return false;
}

#if defined(__x86_64__)
static uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Since Linux 5.16 a process asks before it may touch the tile data registers. */
static bool ask_for_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static void read_names(mz_cpu_id *id)
{
    uint32_t r[12] = {0};
    if (__get_cpuid(0, &r[0], &r[1], &r[2], &r[3])) {
        memcpy(id->vendor, &r[1], 4);
        memcpy(id->vendor + 4, &r[3], 4);
        memcpy(id->vendor + 8, &r[2], 4);
    }
    if ((unsigned)__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
    memcpy(id->model, r, sizeof r); /* 48 bytes, padded with blanks on some processors */
    for (size_t n = strlen(id->model); n > 0 && id->model[n - 1] == ' ';) id->model[--n] = '\0';
}

void mz_cpu_id_read(mz_cpu_id *id)
{
    *id = (mz_cpu_id){0};
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) id->leaf1_ecx = c;
    uint32_t sub_leaves = 0;
    if (__get_cpuid_count(7, 0, &sub_leaves, &b, &c, &d)) id->leaf7_ebx = b, id->leaf7_edx = d;
    if (sub_leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) id->leaf7_1_eax = a;
    if (has(id->leaf1_ecx, 27)) id->xcr0 = read_xcr0();
    id->amx_granted = has(id->leaf7_edx, 24) && ask_for_tiles();
    read_names(id);
}
#else
/* The system's own description of the first processor, as far as it names vendor and model. */
void mz_cpu_id_read(mz_cpu_id *id)
{
    *id = (mz_cpu_id){0};
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[256], value[64];
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || sscanf(colon + 1, " %63[^\n]", value) != 1) continue;
        if (strncmp(line, "CPU implementer", 15) == 0 && !id->vendor[0])
            (void)snprintf(id->vendor, sizeof id->vendor, "%.15s", value);
        if (strncmp(line, "model name", 10) == 0 && !id->model[0])
            (void)snprintf(id->model, sizeof id->model, "%s", value);
    }
    fclose(f);
}
#endif

/* What this build holds, the strongest first; cmake/isa.cmake defines MZ_CPU_BUILT_... too. */
static const mz_cpu_kernels BUILT[] = {
#define TABLES(isa)                                                                                \
    {                                                                                              \
        MZ_CPU_ISA_##isa, #isa, &mz_cpu_gemm_##isa, &mz_cpu_ops_##isa, &mz_cpu_stored_##isa        \
    }
#ifdef MZ_CPU_BUILT_amx
    TABLES(amx),
#endif
#ifdef MZ_CPU_BUILT_avx512bf16
    TABLES(avx512bf16),
#endif
#ifdef MZ_CPU_BUILT_avx512
    TABLES(avx512),
#endif
#ifdef MZ_CPU_BUILT_avx2
    TABLES(avx2),
#endif
#ifdef MZ_CPU_BUILT_neon
    TABLES(neon),
#endif
    TABLES(portable)
#undef TABLES
};

static const char *option_of(mz_cpu_isa isa)
{
    static const char *const OPTIONS[MZ_CPU_ISA_COUNT] = {
#define MZ_CPU_ISA_OPTION(name, option) [MZ_CPU_ISA_##name] = option,
        MZ_CPU_ISA_LIST(MZ_CPU_ISA_OPTION)
#undef MZ_CPU_ISA_OPTION
    };
    return OPTIONS[isa];
}

static bool exists(const char *option)
{
    for (mz_cpu_isa i = 0; i < MZ_CPU_ISA_COUNT; i++)
        if (strcmp(option, option_of(i)) == 0) return true;
    return false;
}

mz_err mz_cpu_isa_choose(const char *option, const mz_cpu_id *id, mz_cpu_kernels *kernels)
{
    const bool any = !option || strcmp(option, "auto") == 0;
    if (!any && !exists(option))
        return MZ_FAIL(MZ_ECONFIG,
                       "instruction set \"%s\" is none of auto, amx, avx512, avx2, neon, "
                       "portable",
                       option);
    bool is_built = false;
    for (int i = 0; i < MZ_COUNT(BUILT); i++) {
        if (!any && strcmp(option, option_of(BUILT[i].isa)) != 0) continue;
        is_built = true;
        if (!mz_cpu_isa_runs(BUILT[i].isa, id)) continue;
        *kernels = BUILT[i];
        return MZ_OK;
    }
    if (!is_built)
        return MZ_FAIL(MZ_ENOTSUP,
                       "this build has no kernels for %s: another processor architecture, "
                       "or a compiler that does not know it",
                       option);
    return MZ_FAIL(MZ_ENOTSUP, "this processor or its system does not offer %s (%s)", option,
                   id->model[0] ? id->model : "model unknown");
}
