/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/state.h - between the chip's files: device, queue, program, kernel. Floor: chips. */
#ifndef MZ_CHIPS_OPENCL_STATE_H
#define MZ_CHIPS_OPENCL_STATE_H

#include "chips/kernels/launch.h"
#include "chips/opencl/cl.h"
#include "chips/opencl/opencl.h"

#include <pthread.h>

enum { MZ_OPENCL_AHEAD = 256, MZ_OPENCL_OPTIONS = 256 };

typedef struct mz_opencl_program {
    struct mz_opencl_program *next;
    const mz_kernel_text *text;
    char options[MZ_OPENCL_OPTIONS];
    cl_program program;
} mz_opencl_program;

typedef struct mz_opencl {
    const mz_cl *cl;
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue own; /* clears new memory */
    size_t alloc_max;
    bool rounds_division;
    const char *cache_path;    /* the device's options own it */
    char identity[512];        /* platform, device, driver: what a compiled program is good for */
    pthread_mutex_t compiling; /* of programs, counts.built and .from_cache; before lock */
    mz_opencl_program *programs;
    pthread_mutex_t lock; /* of what follows */
    mz_opencl_counts counts;
    int32_t lost; /* the code that said that the device is gone; 0: it is there */
} mz_opencl;

struct mz_kernel {
    mz_kernel *next;
    const mz_opencl_program *program;
    const char *name;
    cl_kernel kernel;
};

/* A command in flight. */
typedef struct mz_opencl_command {
    cl_event event;
    const char *name; /* of the kernel, or "upload" ... */
    bool is_kernel;
    double flop; /* of the kernel */
} mz_opencl_command;

typedef struct mz_opencl_queue {
    const mz_kernel_driver *driver; /* first: chips/kernels/launch.h */
    mz_opencl *chip;
    cl_command_queue queue;
    mz_kernel *kernels;
    mz_opencl_command ahead[MZ_OPENCL_AHEAD];
    int64_t put, taken; /* commands so far: enqueued, looked after */
    int32_t late;       /* the first code that a command ended with since the last sync */
    const char *late_name;
    mz_opencl_counts counts; /* since the last sync */
} mz_opencl_queue;

/* queue.c */
mz_err mz_opencl_queue_open(mz_queue *q);
void mz_opencl_queue_close(mz_queue *q);
mz_err mz_opencl_queue_sync(mz_queue *q);
mz_err mz_opencl_upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes);
mz_err mz_opencl_download(mz_queue *q, void *host, const mz_buffer *src, size_t offset,
                          size_t bytes);
mz_err mz_opencl_copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                      size_t src_offset, size_t bytes);
mz_err mz_opencl_zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes);
/* Room for one more command; *event is where the driver puts its event. */
mz_err mz_opencl_begin(mz_opencl_queue *q, cl_event **event);
/* What enqueueing it returned: it joins those in flight, or fails with a note. kernel: NULL for a
 * copy. */
mz_err mz_opencl_end(mz_opencl_queue *q, int32_t code, const char *name, const mz_launch *kernel);
/* A code as our error, with a note; remembers that the device is lost. */
mz_err mz_opencl_fail(mz_opencl *chip, int32_t code, const char *what);
/* MZ_ECHIP if the device is lost. */
mz_err mz_opencl_check(mz_opencl *chip);

/* program.c: compiled once a device, from the cache if it can be. */
mz_err mz_opencl_program_get(mz_opencl *chip, const mz_kernel_spec *spec,
                             const mz_opencl_program **program);
void mz_opencl_programs_free(mz_opencl *chip);

/* launch.c */
extern const mz_kernel_driver mz_opencl_driver;
void mz_opencl_kernels_free(mz_opencl_queue *q);

#endif
