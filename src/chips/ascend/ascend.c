/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/ascend.c - the table: opening a device, saying what it is, its memory. Floor: chips.
 */
#include "chips/ascend/ascend.h"

#include "base/mem.h"
#include "base/str.h"
#include "chips/ascend/group.h"

#include <stdio.h>
#include <string.h>

enum { NOWHERE_BYTES = 64, DETERMINISTIC = 1, INFNAN = 1 };

/* ---- codes ---- */

static bool says_lost(int code)
{
    return code == 507010 || code == 507053 || code == 507054;
}

static mz_err lost_error(int code)
{
    const mz_err err = MZ_FAIL(MZ_ECHIP, "the NPU is lost: %s (%d)", mz_acl_name(code), code);
    mz_note_fix("start again; npu-smi info says what became of the device");
    return err;
}

mz_err mz_ascend_fail(mz_ascend *chip, int code, const char *call)
{
    const mz_err err = mz_acl_fail(chip->acl, code, call);
    if (!says_lost(code)) return err;
    pthread_mutex_lock(&chip->lock);
    if (!chip->lost) chip->lost = code;
    pthread_mutex_unlock(&chip->lock);
    return lost_error(code);
}

mz_err mz_ascend_here(mz_ascend *chip)
{
    pthread_mutex_lock(&chip->lock);
    const int lost = chip->lost;
    pthread_mutex_unlock(&chip->lock);
    if (lost) return lost_error(lost);
    const int code = chip->acl->aclrtSetCurrentContext(chip->context);
    return code == 0 ? MZ_OK : mz_ascend_fail(chip, code, "aclrtSetCurrentContext");
}

/* ---- opening ---- */

static mz_err find_device(mz_ascend *chip, const char *arg, const char *driver_path)
{
    int64_t number = 0;
    uint32_t n = 0;
    if (arg[0] && (!mz_str_to_i64(arg, &number) || number < 0 || number > INT32_MAX)) {
        const mz_err err = MZ_FAIL(MZ_ENOTSUP, "ascend has no device \"%.64s\"", arg);
        mz_note_fix("ascend:0, ascend:1 ...: devices are numbered");
        return err;
    }
    MZ_TRY(mz_acl_load(&chip->acl, driver_path));
    const int code = chip->acl->aclrtGetDeviceCount(&n);
    if (code != 0) {
        (void)mz_acl_fail(chip->acl, code, "aclrtGetDeviceCount");
        return MZ_FAIL(MZ_ENOTSUP, "CANN finds no NPU: %.300s", mz_err_last()->message);
    }
    if (number >= (int64_t)n)
        return MZ_FAIL(MZ_ENOTSUP, "there %s %u NPU%s, numbered from 0: none is number %lld",
                       n == 1 ? "is" : "are", n, n == 1 ? "" : "s", (long long)number);
    chip->number = (int32_t)number;
    return MZ_OK;
}

static mz_err check(const mz_ascend *chip, int code, const char *call)
{
    return code == 0 ? MZ_OK : mz_acl_fail(chip->acl, code, call);
}

/* The same bits on every run: sums and scatters keep their order. */
static mz_err open_context(mz_ascend *chip)
{
    const mz_acl *acl = chip->acl;
    MZ_TRY(check(chip, acl->aclrtGetCurrentContext(&chip->context), "aclrtGetCurrentContext"));
    MZ_TRY(check(chip, acl->aclrtSetSysParamOpt(ACL_OPT_DETERMINISTIC, DETERMINISTIC),
                 "aclrtSetSysParamOpt"));
    MZ_TRY(check(chip, acl->aclrtCtxSetSysParamOpt(ACL_OPT_DETERMINISTIC, DETERMINISTIC),
                 "aclrtCtxSetSysParamOpt"));
    return check(chip, acl->aclrtMalloc(&chip->nowhere, NOWHERE_BYTES, ACL_MEM_MALLOC_HUGE_FIRST),
                 "aclrtMalloc");
}

/* One mask for sequences of any length: the operators know that it goes on so. */
static mz_err make_mask(mz_ascend *chip)
{
    enum { N = MZ_ASCEND_MASK };
    const mz_acl *acl = chip->acl;
    const size_t bytes = (size_t)N * N;
    unsigned char *host = NULL;
    MZ_TRY(mz_mem_new(&host, N, N));
    for (size_t i = 0; i < N; i++) memset(host + i * N + i + 1, 1, N - i - 1);
    int code = acl->aclrtMalloc(&chip->mask, bytes, ACL_MEM_MALLOC_HUGE_FIRST);
    if (code == 0)
        code = acl->aclrtMemcpy(chip->mask, bytes, host, bytes, ACL_MEMCPY_HOST_TO_DEVICE);
    mz_mem_free(host);
    return check(chip, code, "the mask of attention");
}

static mz_err describe(mz_device *device, mz_ascend *chip)
{
    const mz_acl *acl = chip->acl;
    mz_device_info *info = &device->info;
    const char *name = acl->aclrtGetSocName();
    int32_t major = 0, minor = 0, patch = 0;
    aclrtFloatOverflowMode mode = INFNAN;
    size_t free_bytes = 0, total = 0;
    chip->soc = mz_ascend_soc_of(name ? name : "");
    if (acl->aclrtGetVersion(&major, &minor, &patch) != 0) major = minor = patch = 0;
    MZ_TRY(check(chip, acl->aclrtGetDeviceSatMode(&mode), "aclrtGetDeviceSatMode"));
    (void)acl->aclrtGetMemInfo(ACL_HBM_MEM, &free_bytes, &total);
    (void)snprintf(info->vendor, sizeof info->vendor, "Huawei");
    (void)snprintf(info->model, sizeof info->model, "%s%.40s (%s)",
                   chip->acl->is_emulated ? "emulated " : "", name ? name : "an NPU",
                   chip->soc->family);
    (void)snprintf(info->driver, sizeof info->driver, "%sACL %d.%d.%d, overflow gives %s",
                   chip->acl->is_emulated ? "emulated " : "", major, minor, patch,
                   mode == INFNAN ? "Inf and NaN" : "the largest number");
    info->emulated = chip->acl->is_emulated;
    info->dtypes = chip->soc->dtypes;
    info->memory_bytes = (int64_t)total;
    info->memory_free_bytes = (int64_t)free_bytes;
    return MZ_OK;
}

static void free_chip(mz_ascend *chip)
{
    if (chip->context && chip->acl->aclrtSetCurrentContext(chip->context) == 0) {
        if (chip->mask) (void)chip->acl->aclrtFree(chip->mask);
        if (chip->nowhere) (void)chip->acl->aclrtFree(chip->nowhere);
        (void)chip->acl->aclrtResetDevice(chip->number);
    }
    pthread_mutex_destroy(&chip->lock);
    mz_mem_free(chip);
}

static mz_err open_chip(mz_device *device, mz_ascend *chip, const char *arg)
{
    MZ_TRY(find_device(chip, arg, device->options.driver_path));
    const int code = chip->acl->aclrtSetDevice(chip->number);
    if (code != 0) {
        (void)mz_acl_fail(chip->acl, code, "aclrtSetDevice");
        return MZ_FAIL(MZ_ENOTSUP, "the NPU does not open: %.300s", mz_err_last()->message);
    }
    MZ_TRY(open_context(chip));
    MZ_TRY(make_mask(chip));
    return describe(device, chip);
}

static mz_err open_device(mz_device *device, const char *arg)
{
    mz_ascend *chip = NULL;
    MZ_TRY(mz_mem_new(&chip, 1, sizeof *chip));
    pthread_mutex_init(&chip->lock, NULL);
    const int wait_s = device->options.wait_s;
    chip->wait_ms = wait_s > 0 && wait_s < INT32_MAX / 1000 ? wait_s * 1000 : MZ_ASCEND_WAIT_MS;
    const mz_err err = open_chip(device, chip, arg);
    if (err != MZ_OK) {
        free_chip(chip);
        return err;
    }
    device->state = chip;
    return MZ_OK;
}

static void close_device(mz_device *device)
{
    free_chip(device->state);
    device->state = NULL;
}

void mz_ascend_count(const mz_device *device, mz_ascend_counts *counts)
{
    mz_ascend *chip = device->state;
    pthread_mutex_lock(&chip->lock);
    *counts = chip->counts;
    pthread_mutex_unlock(&chip->lock);
}

/* ---- memory ---- */

static mz_err alloc(mz_device *device, mz_buffer *buf)
{
    mz_ascend *chip = device->state;
    void *at = NULL;
    MZ_TRY(mz_ascend_here(chip));
    int code = chip->acl->aclrtMalloc(&at, buf->bytes, ACL_MEM_MALLOC_HUGE_FIRST);
    if (code != 0) return mz_ascend_fail(chip, code, "aclrtMalloc");
    code = chip->acl->aclrtMemset(at, buf->bytes, 0, buf->bytes);
    if (code != 0) {
        (void)chip->acl->aclrtFree(at);
        return mz_ascend_fail(chip, code, "aclrtMemset");
    }
    buf->handle = at;
    buf->host = NULL;
    return MZ_OK;
}

static void release(mz_device *device, mz_buffer *buf)
{
    const mz_ascend *chip = device->state;
    if (chip->acl->aclrtSetCurrentContext(chip->context) == 0)
        (void)chip->acl->aclrtFree(buf->handle);
    buf->handle = NULL;
}

/* ---- the table ---- */

static const char *const VARIANTS[] = {"NUMBER", NULL};

static mz_chip table = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "ascend",
    .summary = "Huawei's Ascend NPUs through CANN 8.1 or newer",
    .variants = VARIANTS,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .free = release,
    .queue_open = mz_ascend_queue_open,
    .queue_close = mz_ascend_queue_close,
    .queue_sync = mz_ascend_queue_sync,
    .upload = mz_ascend_upload,
    .download = mz_ascend_download,
    .copy = mz_ascend_copy,
    .zero = mz_ascend_zero,
    .collective = &mz_ascend_collective,
};

static void fill_slots(void)
{
    mz_ascend_fill_slots(table.op);
}

const mz_chip *mz_ascend_chip(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_slots);
    return &table;
}
