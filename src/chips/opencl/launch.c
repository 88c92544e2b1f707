/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/launch.c - kernels of a queue, their arguments and their launches. Floor: chips. */
#include "base/mem.h"
#include "base/size.h"
#include "chips/opencl/state.h"

#include <string.h>

static mz_err make_kernel(mz_opencl_queue *q, const mz_opencl_program *program, const char *name,
                          mz_kernel **kernel)
{
    const mz_cl *cl = q->chip->cl;
    int32_t code = CL_SUCCESS;
    mz_kernel *k = NULL;
    MZ_TRY(mz_mem_new(&k, 1, sizeof *k));
    k->kernel = cl->CreateKernel(program->program, name, &code);
    if (!k->kernel) {
        mz_mem_free(k);
        return mz_opencl_fail(q->chip, code, name);
    }
    k->program = program;
    k->name = name;
    k->next = q->kernels;
    q->kernels = k;
    *kernel = k;
    return MZ_OK;
}

static mz_err get(mz_queue *outer, const mz_kernel_spec *spec, mz_kernel **kernel)
{
    mz_opencl_queue *q = outer->state;
    const mz_opencl_program *program = NULL;
    MZ_TRY(mz_opencl_check(q->chip));
    MZ_TRY(mz_opencl_program_get(q->chip, spec, &program));
    mz_kernel *k = q->kernels;
    while (k && (k->program != program || strcmp(k->name, spec->name) != 0)) k = k->next;
    if (k) return *kernel = k, MZ_OK;
    return make_kernel(q, program, spec->name, kernel);
}

/* The memory object that stands for a tensor; *part is one that is to be released. */
static mz_err memory_of(const mz_opencl_queue *q, const mz_tensor *t, cl_mem *memory, cl_mem *part)
{
    *memory = *part = NULL;
    if (!t || !t->buf || !t->buf->handle) return MZ_OK;
    *memory = t->buf->handle;
    mz_cl_region region = {0};
    if (t->dtype != MZ_U8 || t->offset_bytes == 0) return MZ_OK;
    int32_t code = CL_SUCCESS;
    MZ_NEED(mz_align_up(t->offset_bytes, MZ_KERNEL_ALIGN, &region.origin) &&
                region.origin < t->buf->bytes,
            "a kernel's scratch begins behind its buffer");
    region.size = t->buf->bytes - region.origin;
    *memory = *part = q->chip->cl->CreateSubBuffer(t->buf->handle, CL_MEM_READ_WRITE,
                                                   CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    return *part ? MZ_OK : mz_opencl_fail(q->chip, code, "clCreateSubBuffer");
}

static mz_err set_argument(const mz_opencl_queue *q, const mz_kernel *k, int i, size_t bytes,
                           const void *value)
{
    const int32_t code = q->chip->cl->SetKernelArg(k->kernel, (uint32_t)i, bytes, value);
    return code == CL_SUCCESS ? MZ_OK : mz_opencl_fail(q->chip, code, k->name);
}

static mz_err set_arguments(const mz_opencl_queue *q, const mz_kernel *k, const mz_launch *l,
                            cl_mem part[MZ_LAUNCH_TENSORS])
{
    for (int i = 0; i < l->n_tensors; i++) {
        cl_mem memory = NULL;
        MZ_TRY(memory_of(q, l->tensor[i], &memory, &part[i]));
        MZ_TRY(set_argument(q, k, i, sizeof memory, memory ? &memory : NULL));
    }
    return set_argument(q, k, l->n_tensors, l->args_bytes, l->args);
}

static mz_err enqueue(mz_opencl_queue *q, const mz_kernel *k, const mz_launch *l)
{
    const size_t local[3] = {MZ_KERNEL_GROUP, 1, 1};
    const size_t global[3] = {(size_t)l->groups[0] * MZ_KERNEL_GROUP, (size_t)l->groups[1],
                              (size_t)l->groups[2]};
    cl_event *event = NULL;
    MZ_TRY(mz_opencl_begin(q, &event));
    return mz_opencl_end(q,
                         q->chip->cl->EnqueueNDRangeKernel(q->queue, k->kernel, 3, NULL, global,
                                                           local, 0, NULL, event),
                         k->name, l);
}

static mz_err launch(mz_queue *outer, mz_kernel *k, const mz_launch *l)
{
    mz_opencl_queue *q = outer->state;
    cl_mem part[MZ_LAUNCH_TENSORS] = {NULL};
    mz_err err = set_arguments(q, k, l, part);
    if (err == MZ_OK) err = enqueue(q, k, l);
    for (int i = 0; i < l->n_tensors; i++) /* the command holds what it needs */
        if (part[i]) (void)q->chip->cl->ReleaseMemObject(part[i]);
    return err;
}

const mz_kernel_driver mz_opencl_driver = {.get = get, .launch = launch};

void mz_opencl_kernels_free(mz_opencl_queue *q)
{
    for (mz_kernel *k = q->kernels, *next; k; k = next) {
        next = k->next;
        (void)q->chip->cl->ReleaseKernel(k->kernel);
        mz_mem_free(k);
    }
}
