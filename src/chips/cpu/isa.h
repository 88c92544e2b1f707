/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/isa.h - which instruction sets this processor and its system offer, and the kernels
 * that were compiled for each.
 *
 * Floor:  chips.
 * Errors: MZ_ECONFIG for a name that does not exist; MZ_ENOTSUP for a set that this machine, its
 *         system or this build lacks (the note says which of them). */
#ifndef MZ_CHIPS_CPU_ISA_H
#define MZ_CHIPS_CPU_ISA_H

#include "base/err.h"
#include "chips/cpu/kernels.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, what --isa calls it), from the plainest to the strongest on each architecture. */
#define MZ_CPU_ISA_LIST(X)                                                                         \
    X(portable, "portable")                                                                        \
    X(neon, "neon")                                                                                \
    X(avx2, "avx2")                                                                                \
    X(avx512, "avx512")                                                                            \
    X(avx512bf16, "avx512")                                                                        \
    X(amx, "amx")

typedef enum mz_cpu_isa {
#define MZ_CPU_ISA_ENUM(name, option) MZ_CPU_ISA_##name,
    MZ_CPU_ISA_LIST(MZ_CPU_ISA_ENUM)
#undef MZ_CPU_ISA_ENUM
        MZ_CPU_ISA_COUNT
} mz_cpu_isa;

/* What the processor says of itself (x86 CPUID and XCR0), kept as data so that tests can invent
 * machines. All zero on other architectures. */
typedef struct mz_cpu_id {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_edx, leaf7_1_eax;
    uint64_t xcr0;    /* register sets that the system saves */
    bool amx_granted; /* the system lets this process use the tile registers */
    char vendor[16];  /* "" where unknown */
    char model[64];   /* brand string, "" where unknown */
} mz_cpu_id;

void mz_cpu_id_read(mz_cpu_id *id); /* asks the system for the tile registers too */
/* Whether a processor like that runs kernels of that set. */
bool mz_cpu_isa_runs(mz_cpu_isa isa, const mz_cpu_id *id);

typedef struct mz_cpu_kernels {
    mz_cpu_isa isa;
    const char *name; /* "avx2", "avx512bf16" ... */
    const mz_cpu_gemm_table *gemm;
    const mz_cpu_ops_table *ops;
    const mz_cpu_stored_table *stored;
} mz_cpu_kernels;

/* option: what --isa says; NULL and "auto" choose the strongest. */
mz_err mz_cpu_isa_choose(const char *option, const mz_cpu_id *id, mz_cpu_kernels *kernels);

#endif
