/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/opencl.c - the table: opening a device, saying what it is, its memory.
 *
 * Floor:  chips. */
#include "chips/opencl/opencl.h"

#include "base/mem.h"
#include "base/str.h"
#include "chips/kernels/ops.h"
#include "chips/opencl/state.h"

#include <stdio.h>
#include <string.h>

/* ---- what a device says of itself ---- */

static void text_of(const mz_opencl *chip, uint32_t what, char *out, size_t bytes)
{
    char text[1024] = "";
    if (chip->cl->GetDeviceInfo(chip->device, what, sizeof text, text, NULL) != CL_SUCCESS)
        text[0] = '\0';
    text[sizeof text - 1] = '\0';
    (void)snprintf(out, bytes, "%s", text);
}

static uint64_t number_of(const mz_opencl *chip, uint32_t what, size_t bytes)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    void *out = bytes == sizeof narrow ? (void *)&narrow : (void *)&wide;
    if (chip->cl->GetDeviceInfo(chip->device, what, bytes, out, NULL) != CL_SUCCESS) return 0;
    return bytes == sizeof narrow ? narrow : wide;
}

static uint32_t uint_of(const mz_opencl *chip, uint32_t what)
{
    return (uint32_t)number_of(chip, what, sizeof(uint32_t));
}

static void describe(mz_device *device, mz_opencl *chip)
{
    mz_device_info *info = &device->info;
    char platform[128] = "", version[128] = "", driver[128];
    (void)chip->cl->GetPlatformInfo(chip->platform, CL_PLATFORM_VERSION, sizeof platform - 1,
                                    platform, NULL);
    text_of(chip, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    text_of(chip, CL_DEVICE_NAME, info->model, sizeof info->model);
    text_of(chip, CL_DEVICE_VERSION, version, sizeof version);
    text_of(chip, CL_DRIVER_VERSION, driver, sizeof driver);
    (void)snprintf(info->driver, sizeof info->driver, "%.30s, driver %.20s", version, driver);
    info->dtypes = 1u << MZ_F32 | 1u << MZ_BF16;
    info->memory_bytes = (int64_t)number_of(chip, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(uint64_t));
    if (number_of(chip, CL_DEVICE_TYPE, sizeof(uint64_t)) & CL_DEVICE_TYPE_CPU)
        info->threads = (int)uint_of(chip, CL_DEVICE_MAX_COMPUTE_UNITS);
    chip->alloc_max = (size_t)number_of(chip, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(uint64_t));
    chip->rounds_division = (number_of(chip, CL_DEVICE_SINGLE_FP_CONFIG, sizeof(uint64_t)) &
                             CL_FP_ROUNDS_DIVISION) != 0;
    (void)snprintf(chip->identity, sizeof chip->identity, "%s|%s|%s|%s", platform, info->model,
                   version, driver);
}

/* What every kernel counts on. */
static mz_err check_device(const mz_opencl *chip)
{
    char version[64] = "";
    int major = 0, minor = 0;
    text_of(chip, CL_DEVICE_VERSION, version, sizeof version);
    if (sscanf(version, "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12)
        return MZ_FAIL(MZ_ENOTSUP, "the device speaks \"%s\", which is older than OpenCL 1.2",
                       version);
    if (!uint_of(chip, CL_DEVICE_AVAILABLE))
        return MZ_FAIL(MZ_ENOTSUP, "the driver says that the device is not available");
    if (!uint_of(chip, CL_DEVICE_COMPILER_AVAILABLE))
        return MZ_FAIL(MZ_ENOTSUP, "the driver brings no compiler for kernels");
    if (!uint_of(chip, CL_DEVICE_ENDIAN_LITTLE))
        return MZ_FAIL(MZ_ENOTSUP, "the device is big-endian");
    if (number_of(chip, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t)) < MZ_KERNEL_GROUP)
        return MZ_FAIL(MZ_ENOTSUP, "the device has no groups of %d items", MZ_KERNEL_GROUP);
    if (uint_of(chip, CL_DEVICE_MEM_BASE_ADDR_ALIGN) > 8 * MZ_KERNEL_ALIGN)
        return MZ_FAIL(MZ_ENOTSUP, "the device aligns parts of buffers to more than %d bytes",
                       (int)MZ_KERNEL_ALIGN);
    return MZ_OK;
}

/* PoCL keeps what it compiles by itself and compiles only kernels that run; asked for a program's
 * binary, it compiles all of it once more. */
static bool keeps_itself(const mz_opencl *chip)
{
    char name[128] = "";
    (void)chip->cl->GetPlatformInfo(chip->platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    return strcmp(name, "Portable Computing Language") == 0;
}

static bool keep_all;

void mz_opencl_keep_all(bool on)
{
    keep_all = on;
}

/* ---- opening ---- */

static mz_err find_device(mz_opencl *chip, const char *arg, const char *driver_path)
{
    mz_cl_found found = {NULL, NULL};
    int64_t number = 0, n = 0;
    if (arg[0] && (!mz_str_to_i64(arg, &number) || number < 0)) {
        const mz_err err = MZ_FAIL(MZ_ENOTSUP, "opencl has no device \"%.64s\"", arg);
        mz_note_fix("opencl:0, opencl:1 ...: devices are numbered");
        return err;
    }
    MZ_TRY(mz_cl_load(&chip->cl, driver_path));
    MZ_TRY(mz_cl_find(chip->cl, number, &found, &n));
    chip->platform = found.platform;
    chip->device = found.device;
    return check_device(chip);
}

static void free_chip(mz_opencl *chip)
{
    mz_opencl_programs_free(chip);
    if (chip->own) (void)chip->cl->ReleaseCommandQueue(chip->own);
    if (chip->context) (void)chip->cl->ReleaseContext(chip->context);
    pthread_mutex_destroy(&chip->compiling);
    pthread_mutex_destroy(&chip->lock);
    mz_mem_free(chip);
}

static mz_err open_context(mz_opencl *chip)
{
    int32_t code = CL_SUCCESS;
    chip->context = chip->cl->CreateContext(NULL, 1, &chip->device, NULL, NULL, &code);
    if (!chip->context) return mz_cl_fail(code, "clCreateContext");
    chip->own = chip->cl->CreateCommandQueue(chip->context, chip->device, 0, &code);
    return chip->own ? MZ_OK : mz_cl_fail(code, "clCreateCommandQueue");
}

static mz_err open_device(mz_device *device, const char *arg)
{
    mz_opencl *chip = NULL;
    MZ_TRY(mz_mem_new(&chip, 1, sizeof *chip));
    pthread_mutex_init(&chip->compiling, NULL);
    pthread_mutex_init(&chip->lock, NULL);
    mz_err err = find_device(chip, arg, device->options.driver_path);
    if (err == MZ_OK) err = open_context(chip);
    if (err != MZ_OK) {
        free_chip(chip);
        return err;
    }
    describe(device, chip);
    if (keep_all || !keeps_itself(chip)) chip->cache_path = device->options.cache_path;
    device->state = chip;
    return MZ_OK;
}

static void close_device(mz_device *device)
{
    free_chip(device->state);
    device->state = NULL;
}

void mz_opencl_count(const mz_device *device, mz_opencl_counts *counts)
{
    mz_opencl *chip = device->state;
    pthread_mutex_lock(&chip->compiling);
    pthread_mutex_lock(&chip->lock);
    *counts = chip->counts;
    pthread_mutex_unlock(&chip->lock);
    pthread_mutex_unlock(&chip->compiling);
}

/* ---- memory ---- */

/* Drivers make memory only when it is first used, so that clearing it is where its lack shows. */
static int32_t clear(mz_opencl *chip, cl_mem memory, size_t bytes)
{
    static const unsigned char nothing = 0;
    const int32_t code = chip->cl->EnqueueFillBuffer(chip->own, memory, &nothing, sizeof nothing, 0,
                                                     bytes, 0, NULL, NULL);
    return code == CL_SUCCESS ? chip->cl->Finish(chip->own) : code;
}

static mz_err no_memory(mz_opencl *chip, size_t bytes, int32_t code)
{
    if (code != CL_MEM_OBJECT_ALLOCATION_FAILURE && code != CL_OUT_OF_HOST_MEMORY &&
        code != CL_OUT_OF_RESOURCES && code != CL_INVALID_BUFFER_SIZE)
        return mz_opencl_fail(chip, code, "device memory");
    return MZ_FAIL(MZ_ENOMEM, "the OpenCL device has no %zu bytes: %s (%d)", bytes,
                   mz_cl_name(code), (int)code);
}

static mz_err alloc(mz_device *device, mz_buffer *buf)
{
    mz_opencl *chip = device->state;
    int32_t code = CL_SUCCESS;
    MZ_TRY(mz_opencl_check(chip));
    if (chip->alloc_max && buf->bytes > chip->alloc_max)
        return MZ_FAIL(MZ_ENOMEM, "a buffer of %zu bytes; the OpenCL device has none above %zu",
                       buf->bytes, chip->alloc_max);
    cl_mem memory =
        chip->cl->CreateBuffer(chip->context, CL_MEM_READ_WRITE, buf->bytes, NULL, &code);
    if (!memory) return no_memory(chip, buf->bytes, code);
    code = clear(chip, memory, buf->bytes);
    if (code != CL_SUCCESS) {
        (void)chip->cl->ReleaseMemObject(memory);
        return no_memory(chip, buf->bytes, code);
    }
    buf->handle = memory;
    buf->host = NULL;
    return MZ_OK;
}

static void release(mz_device *device, mz_buffer *buf)
{
    const mz_opencl *chip = device->state;
    (void)chip->cl->ReleaseMemObject(buf->handle);
    buf->handle = NULL;
}

/* ---- the table ---- */

/* Every operator of the table. */
static const mz_slot *const SLOTS[MZ_OP_COUNT] = {
#define SLOT(NAME, field) [MZ_OP_##NAME] = &mz_kernels_##field,
    MZ_OP_LIST(SLOT)
#undef SLOT
};

static const char *const VARIANTS[] = {"NUMBER", NULL};

static mz_chip table = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "opencl",
    .summary = "any OpenCL 1.2 device, with kernels of our own",
    .variants = VARIANTS,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .free = release,
    .queue_open = mz_opencl_queue_open,
    .queue_close = mz_opencl_queue_close,
    .queue_sync = mz_opencl_queue_sync,
    .upload = mz_opencl_upload,
    .download = mz_opencl_download,
    .copy = mz_opencl_copy,
    .zero = mz_opencl_zero,
    .counts = true,
};

static void fill_slots(void)
{
    for (int i = 0; i < MZ_OP_COUNT; i++) table.op[i] = *SLOTS[i];
}

const mz_chip *mz_opencl_chip(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_slots);
    return &table;
}
