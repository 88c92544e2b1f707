/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/lang.h - the words in which one source is OpenCL C 1.2 and CUDA C.
 *
 * Includes nothing but args.h, so that a compiler at run time needs no folder of headers. The build
 * (cmake/kernels.cmake) puts it in place of each kernel file's #include.
 *
 *   KERNEL void f(GLOBAL const store *x, mz_kview vx)    a kernel of MZ_KERNEL_GROUP items
 *   HELPER float g(LOCAL_PTR float *x)                     a function of the file
 *   LOCAL float x[64];                                    shared by a group; in a kernel only
 *   LOCAL_PTR float *x                                    a parameter of a HELPER that points there
 *   ITEM, GROUPS(d), GROUP_OF(d), GLOBAL_ITEM             where this item stands; 64 bits
 *   BARRIER, GLOBAL_BARRIER                               all items of a group, or none; the second
 *                                                         for global memory too
 *   vec8, VEC_LOAD(p), VEC_FMA(a, v, w) = a v + w         eight floats that an item holds as one
 *   group_sum(x, part), group_max                         over a group, to every item
 *
 * Build options: DTYPE, the compute dtype (args.h) that `store`, LOAD and STORE speak of;
 * OUT_DTYPE, a second one for STORE_OUT (DTYPE where it is not given). `store` may be copied as it
 * is. Sums are float. Nothing is fused by the compiler (CUDA C is compiled with -fmad=false): FMA()
 * says where.
 *
 * Rules that every kernel keeps: barriers stand where all items of a group pass; no item returns
 * after a barrier while others go on (PoCL 3.1 makes wrong code of that); a kernel does not
 * write into its struct, which is the whole group's there; no atomics; sums in an
 * order that depends on shapes alone, so that bits repeat. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_LANG_H
#define MZ_CHIPS_KERNELS_LANG_H

#include "chips/kernels/args.h"

#ifndef DTYPE
#define DTYPE MZ_KERNEL_F32
#endif
#ifndef OUT_DTYPE
#define OUT_DTYPE DTYPE
#endif
#define GROUP MZ_KERNEL_GROUP

typedef mz_i64 i64;

#ifdef MZ_KERNEL_OPENCL
#pragma OPENCL FP_CONTRACT OFF

#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
/* Always inline: where PoCL 3.1 leaves a helper as a function that is given a kernel's local array,
 * LLVM may name that array in it, and then all groups that run at one time share it. */
#define HELPER static inline __attribute__((always_inline))
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_PTR __local
#define CONSTANT __constant
#define RESTRICT restrict
#define ITEM ((int)get_local_id(0))
#define GROUP_OF(d) ((i64)get_group_id(d))
#define GROUPS(d) ((i64)get_num_groups(d))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define GLOBAL_BARRIER barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define UNROLL _Pragma("unroll")
#define FMA(a, b, c) fma(a, b, c)
#define AS_UINT(x) as_uint(x)
#define AS_FLOAT(x) as_float(x)
typedef float8 vec8;
#define VEC_SPLAT(x) ((float8)(x))
#define VEC_FMA(a, b, c) fma((float8)(a), b, c)
#define VEC_LOAD(p) vload8(0, p)
#define VEC_STORE(p, v) vstore8(v, 0, p)
typedef ulong u64;
typedef ushort f16_store;
#define F16_LOAD(p, i) vload_half((size_t)(i), (GLOBAL const half *)(p))
#define F16_STORE(p, i, x) vstore_half_rte(x, (size_t)(i), (GLOBAL half *)(p))

HELPER float vec_sum(float8 v)
{
    const float4 half_sum = v.lo + v.hi;
    return (half_sum.x + half_sum.y) + (half_sum.z + half_sum.w);
}

HELPER float vec_max(float8 v)
{
    const float4 half_max = fmax(v.lo, v.hi);
    return fmax(fmax(half_max.x, half_max.y), fmax(half_max.z, half_max.w));
}

/* Elements low..high-1 of v, `other` elsewhere. */
HELPER float8 vec_within(float8 v, int low, int high, float other)
{
    const int8 i = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    return select((float8)other, v, (i >= low) & (i < high));
}

#else /* CUDA C */

#define KERNEL extern "C" __global__ __launch_bounds__(GROUP)
#define HELPER static __device__ __forceinline__
#define GLOBAL
#define LOCAL __shared__
#define LOCAL_PTR
#define CONSTANT static __device__ const
#define RESTRICT __restrict__
#define ITEM ((int)threadIdx.x)
#define GROUP_OF(d) ((i64)((d) == 0 ? blockIdx.x : (d) == 1 ? blockIdx.y : blockIdx.z))
#define GROUPS(d) ((i64)((d) == 0 ? gridDim.x : (d) == 1 ? gridDim.y : gridDim.z))
#define BARRIER __syncthreads()
#define GLOBAL_BARRIER __syncthreads() /* orders what the block wrote to global memory too */
#define UNROLL _Pragma("unroll")
#define FMA(a, b, c) fmaf(a, b, c)
#define AS_UINT(x) __float_as_uint(x)
#define AS_FLOAT(x) __uint_as_float(x)
typedef unsigned int uint;
typedef unsigned short ushort;
typedef unsigned char uchar;
typedef unsigned long long u64;
typedef unsigned short f16_store;
struct vec8 {
    float x[8];
};
#define VEC_SPLAT(x) vec_splat(x)
#define VEC_FMA(a, b, c) vec_fma(a, b, c)
#define VEC_LOAD(p) vec_load(p)
#define VEC_STORE(p, v) vec_store(p, v)
#define EIGHT UNROLL for (int i = 0; i < 8; i++)
#define F16_LOAD(p, i) f16_to_float((p)[i])
#define F16_STORE(p, i, x) ((p)[i] = f16_of_float(x))

HELPER float f16_to_float(ushort bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

HELPER ushort f16_of_float(float x)
{
    ushort bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

HELPER vec8 vec_splat(float x)
{
    vec8 v;
    EIGHT v.x[i] = x;
    return v;
}

HELPER vec8 vec_fma(float a, vec8 b, vec8 c)
{
    EIGHT c.x[i] = fmaf(a, b.x[i], c.x[i]);
    return c;
}

HELPER vec8 vec_load(const float *p)
{
    vec8 v;
    EIGHT v.x[i] = p[i];
    return v;
}

HELPER void vec_store(float *p, vec8 v)
{
    EIGHT p[i] = v.x[i];
}

HELPER vec8 operator*(vec8 v, float x)
{
    EIGHT v.x[i] *= x;
    return v;
}

HELPER vec8 operator*(vec8 v, vec8 w)
{
    EIGHT v.x[i] *= w.x[i];
    return v;
}

HELPER vec8 operator-(vec8 v, float x)
{
    EIGHT v.x[i] -= x;
    return v;
}

HELPER vec8 operator-(vec8 v, vec8 w)
{
    EIGHT v.x[i] -= w.x[i];
    return v;
}

HELPER vec8 exp(vec8 v)
{
    EIGHT v.x[i] = expf(v.x[i]);
    return v;
}

HELPER float vec_sum(vec8 v)
{
    return ((v.x[0] + v.x[4]) + (v.x[1] + v.x[5])) + ((v.x[2] + v.x[6]) + (v.x[3] + v.x[7]));
}

HELPER float vec_max(vec8 v)
{
    float most = v.x[0];
    EIGHT most = fmaxf(most, v.x[i]);
    return most;
}

/* Elements low..high-1 of v, `other` elsewhere. */
HELPER vec8 vec_within(vec8 v, int low, int high, float other)
{
    EIGHT v.x[i] = i >= low && i < high ? v.x[i] : other;
    return v;
}

#endif

#define GLOBAL_ITEM (GROUP_OF(0) * GROUP + ITEM)
#define INFINITE AS_FLOAT(0x7f800000u)
#define NOT_A_NUMBER AS_FLOAT(0x7fc00000u)

HELPER float bf16_to_float(ushort bits)
{
    return AS_FLOAT((uint)bits << 16);
}

/* To nearest, ties to even; a NaN stays one. */
HELPER ushort bf16_of_float(float x)
{
    const uint bits = AS_UINT(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (ushort)((bits >> 16) | 0x40u);
    return (ushort)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* LOAD8, LOAD8_OUT: eight neighbours as a vec8; LOAD8_F32 ... of that dtype. */
#ifdef MZ_KERNEL_OPENCL
#define LOAD8_F32(p, i) vload8(0, (p) + (i))
#define LOAD8_BF16(p, i) as_float8(convert_uint8(vload8(0, (p) + (i))) << 16)
#define LOAD8_F16(p, i) vload_half8(0, (GLOBAL const half *)(p) + (i))
#else
#define LOAD8_F32(p, i) vec_load((p) + (i))
#define LOAD8_BF16(p, i) load8_bf16((p) + (i))
#define LOAD8_F16(p, i) load8_f16((p) + (i))

HELPER vec8 load8_bf16(const ushort *p)
{
    vec8 v;
    EIGHT v.x[i] = bf16_to_float(p[i]);
    return v;
}

HELPER vec8 load8_f16(const ushort *p)
{
    vec8 v;
    EIGHT v.x[i] = f16_to_float(p[i]);
    return v;
}
#endif
#if DTYPE == MZ_KERNEL_F32
#define LOAD8 LOAD8_F32
#elif DTYPE == MZ_KERNEL_BF16
#define LOAD8 LOAD8_BF16
#else
#define LOAD8 LOAD8_F16
#endif
#if OUT_DTYPE == MZ_KERNEL_F32
#define LOAD8_OUT LOAD8_F32
#elif OUT_DTYPE == MZ_KERNEL_BF16
#define LOAD8_OUT LOAD8_BF16
#else
#define LOAD8_OUT LOAD8_F16
#endif

#if DTYPE == MZ_KERNEL_F32
typedef float store;
#define LOAD(p, i) ((p)[i])
#define STORE(p, i, x) ((p)[i] = (x))
#elif DTYPE == MZ_KERNEL_BF16
typedef ushort store;
#define LOAD(p, i) bf16_to_float((p)[i])
#define STORE(p, i, x) ((p)[i] = bf16_of_float(x))
#elif DTYPE == MZ_KERNEL_F16
typedef f16_store store;
#define LOAD(p, i) F16_LOAD(p, i)
#define STORE(p, i, x) F16_STORE(p, i, x)
#else
#error "DTYPE is none of args.h"
#endif

#if OUT_DTYPE == MZ_KERNEL_F32
typedef float out_store;
#define LOAD_OUT(p, i) ((p)[i])
#define STORE_OUT(p, i, x) ((p)[i] = (x))
#elif OUT_DTYPE == MZ_KERNEL_BF16
typedef ushort out_store;
#define LOAD_OUT(p, i) bf16_to_float((p)[i])
#define STORE_OUT(p, i, x) ((p)[i] = bf16_of_float(x))
#elif OUT_DTYPE == MZ_KERNEL_F16
typedef f16_store out_store;
#define LOAD_OUT(p, i) F16_LOAD(p, i)
#define STORE_OUT(p, i, x) F16_STORE(p, i, x)
#else
#error "OUT_DTYPE is none of args.h"
#endif

/* The sum of x over the group's items, as a tree: in every item, and the same bits always. part
 * [GROUP] may be used again at once. All items call it. */
HELPER float group_sum(float x, LOCAL_PTR float *part)
{
    part[ITEM] = x;
    BARRIER;
    for (int n = GROUP / 2; n > 0; n /= 2) {
        if (ITEM < n) part[ITEM] += part[ITEM + n];
        BARRIER;
    }
    x = part[0];
    BARRIER;
    return x;
}

/* The largest x, NaN left aside, likewise. */
HELPER float group_max(float x, LOCAL_PTR float *part)
{
    part[ITEM] = x;
    BARRIER;
    for (int n = GROUP / 2; n > 0; n /= 2) {
        if (ITEM < n) part[ITEM] = fmax(part[ITEM], part[ITEM + n]);
        BARRIER;
    }
    x = part[0];
    BARRIER;
    return x;
}

#endif
