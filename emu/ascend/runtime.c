/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/runtime.c - the emulated driver's start, errors, devices and contexts. */
#include "ascend/book.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t emu_lock = PTHREAD_MUTEX_INITIALIZER;

static emu_device devices[EMU_DEVICES_MAX];
static pid_t started_by; /* 0: nobody */
static _Thread_local emu_context *current;
static _Thread_local char message[EMU_MESSAGE], told[EMU_MESSAGE];

const char *mizan_emulated_ascend(void)
{
    return "EMULATED Ascend driver of Mizan: no NPU is used, and no time is a measurement";
}

int emu_fail(int code, const char *format, ...)
{
    va_list arguments;
    const int n = snprintf(message, sizeof message, "EMULATED %d: ", code);
    va_start(arguments, format);
    (void)vsnprintf(message + n, sizeof message - (size_t)n, format, arguments);
    va_end(arguments);
    return code;
}

const char *aclGetRecentErrMsg(void)
{
    if (!message[0]) return NULL;
    (void)snprintf(told, sizeof told, "%s", message);
    message[0] = 0;
    return told;
}

/* NULL and "" mean no file. What it says (dumps, a default device) changes nothing here. */
static int check_config(const char *path)
{
    if (!path || !path[0]) return 0;
    FILE *file = fopen(path, "re");
    char first = 0;
    const bool is_read = file && fscanf(file, " %c", &first) == 1;
    if (file) (void)fclose(file);
    return is_read && first == '{' ? 0 : emu_fail(EMU_INVALID_FILE, "aclInit: %s is no JSON", path);
}

aclError aclInit(const char *config)
{
    const int bad_config = check_config(config);
    if (bad_config) return bad_config;
    if (!emu_soc_is_known())
        return emu_fail(EMU_INVALID_PARAM, "MIZAN_EMU_ASCEND_SOC names no chip that is emulated");
    const int bad_plan = emu_faults_read();
    if (bad_plan) return bad_plan;
    pthread_mutex_lock(&emu_lock);
    const pid_t before = started_by;
    if (!before) started_by = getpid();
    pthread_mutex_unlock(&emu_lock);
    if (!before) {
        (void)fprintf(stderr, "%s (%s)\n", mizan_emulated_ascend(), emu_soc_here()->name);
        return 0;
    }
    if (before != getpid())
        return emu_fail(EMU_UNINITIALIZE, "aclInit in a child that was forked after aclInit");
    return emu_fail(EMU_REPEAT_INITIALIZE, "aclInit was called before");
}

aclError aclFinalize(void)
{
    pthread_mutex_lock(&emu_lock);
    const bool is_started = started_by != 0;
    started_by = 0;
    pthread_mutex_unlock(&emu_lock);
    return is_started ? 0 : emu_fail(EMU_REPEAT_FINALIZE, "aclFinalize without aclInit");
}

const char *aclrtGetSocName(void)
{
    return emu_soc_here()->name;
}

aclError aclrtGetVersion(int32_t *major, int32_t *minor, int32_t *patch)
{
    if (!major || !minor || !patch) return emu_fail(EMU_INVALID_PARAM, "aclrtGetVersion: NULL");
    int32_t version[3] = {1, 17, 0};
    (void)emu_fault_version(version);
    *major = version[0], *minor = version[1], *patch = version[2];
    return 0;
}

aclError aclrtGetDeviceCount(uint32_t *count)
{
    if (!count) return emu_fail(EMU_INVALID_PARAM, "aclrtGetDeviceCount: NULL");
    *count = (uint32_t)emu_device_count();
    return 0;
}

/* ---- devices ---- */

static int64_t process_option[EMU_OPTIONS];

static bool open_device(emu_device *d, int number)
{
    emu_context *context = calloc(1, sizeof *context);
    d->number = number;
    memcpy(d->option, process_option, sizeof d->option);
    d->overflow = emu_soc_here()->has_infnan ? EMU_INFNAN : EMU_SATURATION;
    d->memory = mze_memory_new(emu_soc_here()->memory);
    if (!context || !d->memory) {
        mze_memory_delete(d->memory);
        d->memory = NULL;
        free(context);
        return false;
    }
    context->device = d;
    d->context = context;
    return true;
}

aclError aclrtSetDevice(int32_t number)
{
    if (number < 0 || number >= emu_device_count())
        return emu_fail(EMU_RT_INVALID_DEVICEID,
                        "aclrtSetDevice: there are devices 0 to %d, not %d", emu_device_count() - 1,
                        number);
    const int on_machine = emu_device_visible(number);
    pthread_mutex_lock(&emu_lock);
    const bool is_started = started_by == getpid();
    emu_device *d = &devices[on_machine];
    const bool is_open = is_started && (d->context || open_device(d, on_machine));
    if (is_open) current = d->context;
    if (is_open) d->index = number;
    pthread_mutex_unlock(&emu_lock);
    if (!is_started) return emu_fail(EMU_UNINITIALIZE, "aclrtSetDevice before aclInit");
    return is_open ? 0 : emu_fail(EMU_RT_MEMORY_ALLOCATION, "aclrtSetDevice: no memory");
}

emu_device *emu_device_of(int i, const char *call)
{
    const int number = emu_device_visible(i);
    if (number >= 0 && devices[number].context) return &devices[number];
    (void)emu_fail(EMU_RT_INVALID_DEVICEID, "%s: device %d is not open", call, i);
    return NULL;
}

aclError aclrtResetDevice(int32_t number)
{
    const emu_device *d = emu_device_of(number, "aclrtResetDevice");
    if (!d) return EMU_RT_INVALID_DEVICEID;
    const int code = emu_stream_wait(d->context->stream, -1);
    if (current && current->device == d) current = NULL;
    return code; /* the implicit context stays: other threads may still use it */
}

emu_context *emu_here(void)
{
    if (!current) (void)emu_fail(EMU_RT_CONTEXT_NULL, "no device was set in this thread");
    return current;
}

aclError aclrtGetDevice(int32_t *device)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    *device = current->device->index;
    return 0;
}

aclError aclrtGetRunMode(aclrtRunMode *mode)
{
    if (!mode) return emu_fail(EMU_INVALID_PARAM, "aclrtGetRunMode: NULL");
    *mode = 1;
    return 0;
}

aclError aclrtCreateContext(aclrtContext *context, int32_t number)
{
    emu_context *made = calloc(1, sizeof *made);
    if (!made || !context) {
        free(made);
        return emu_fail(EMU_INVALID_PARAM, "aclrtCreateContext: NULL or no memory");
    }
    const int code = aclrtSetDevice(number);
    if (code != 0) {
        free(made);
        return code;
    }
    made->device = current->device;
    *context = current = made;
    return 0;
}

aclError aclrtDestroyContext(aclrtContext context)
{
    emu_context *c = context;
    if (!c) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtDestroyContext: NULL");
    if (c == c->device->context)
        return emu_fail(EMU_RT_PARAM_INVALID, "aclrtDestroyContext: the implicit context");
    if (current == c) current = NULL;
    emu_stream_delete(c->stream, false);
    free(c);
    return 0;
}

aclError aclrtSetCurrentContext(aclrtContext context)
{
    if (!context) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtSetCurrentContext: NULL");
    current = context;
    return 0;
}

aclError aclrtGetCurrentContext(aclrtContext *context)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    *context = current;
    return 0;
}

aclError aclrtSynchronizeDevice(void)
{
    return aclrtSynchronizeDeviceWithTimeout(-1);
}

aclError aclrtSynchronizeDeviceWithTimeout(int32_t ms)
{
    const int64_t begin = emu_call_begin();
    int code = emu_gate("aclrtSynchronizeDevice");
    if (code != 0) return code;
    emu_stream *all[2048];
    int n = 0;
    pthread_mutex_lock(&emu_lock);
    for (emu_stream *s = current->device->streams; s && n < 2048; s = s->next) all[n++] = s;
    pthread_mutex_unlock(&emu_lock);
    for (int i = 0; i < n; i++) {
        const int here = emu_stream_wait(all[i], ms);
        if (code == 0) code = here;
    }
    emu_call_end("aclrtSynchronizeDevice", begin);
    return code;
}

/* ---- options: of the process, and of a device, which begins with those of the process ---- */

static aclError check_option(aclSysParamOpt option, const void *value)
{
    return option >= 0 && option < EMU_OPTIONS && value
               ? 0
               : emu_fail(EMU_INVALID_PARAM, "there is no system parameter %d", option);
}

aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value)
{
    const int64_t begin = emu_call_begin();
    const aclError code = emu_here() ? check_option(option, &value) : EMU_RT_CONTEXT_NULL;
    if (code == 0) current->device->option[option] = value;
    emu_call_end("aclrtCtxSetSysParamOpt", begin);
    return code;
}

aclError aclrtCtxGetSysParamOpt(aclSysParamOpt option, int64_t *value)
{
    const aclError code = emu_here() ? check_option(option, value) : EMU_RT_CONTEXT_NULL;
    if (code == 0) *value = current->device->option[option];
    return code;
}

aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value)
{
    const aclError code = check_option(option, &value);
    if (code != 0) return code;
    pthread_mutex_lock(&emu_lock);
    process_option[option] = value;
    for (int i = 0; i < EMU_DEVICES_MAX; i++) devices[i].option[option] = value;
    pthread_mutex_unlock(&emu_lock);
    return 0;
}

aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t *value)
{
    const aclError code = check_option(option, value);
    if (code == 0) *value = process_option[option];
    return code;
}

aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    if (mode == EMU_INFNAN && !emu_soc_here()->has_infnan)
        return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "%s only saturates", emu_soc_here()->name);
    if (mode != EMU_INFNAN && mode != EMU_SATURATION)
        return emu_fail(EMU_INVALID_PARAM, "there is no overflow mode %d", mode);
    current->device->overflow = mode;
    return 0;
}

aclError aclrtGetDeviceSatMode(aclrtFloatOverflowMode *mode)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    if (!mode) return emu_fail(EMU_INVALID_PARAM, "aclrtGetDeviceSatMode: NULL");
    *mode = current->device->overflow;
    return 0;
}

emu_device *emu_owner(const void *at)
{
    for (int i = 0; i < EMU_DEVICES_MAX; i++)
        if (devices[i].memory && mze_memory_owns(devices[i].memory, at)) return &devices[i];
    return NULL;
}

/* ---- which objects live ---- */

static struct {
    const void *at;
    uint64_t id;
} * objects;
static size_t n_objects, room_objects;
static uint64_t last_id;
static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t find_object(const void *at)
{
    size_t i = n_objects; /* the newest are asked for most */
    while (i > 0 && objects[i - 1].at != at) i--;
    return i;
}

uint64_t emu_object_new(const void *at)
{
    uint64_t id = 0;
    pthread_mutex_lock(&objects_lock);
    if (n_objects == room_objects) {
        const size_t room = room_objects ? 2 * room_objects : 256;
        void *more = realloc(objects, room * sizeof *objects);
        if (more) objects = more, room_objects = room;
    }
    if (n_objects < room_objects) {
        id = ++last_id;
        objects[n_objects].at = at;
        objects[n_objects++].id = id;
    }
    pthread_mutex_unlock(&objects_lock);
    return id;
}

uint64_t emu_object_of(const void *at)
{
    pthread_mutex_lock(&objects_lock);
    const size_t i = find_object(at);
    const uint64_t id = i ? objects[i - 1].id : 0;
    pthread_mutex_unlock(&objects_lock);
    return id;
}

bool emu_object_end(const void *at)
{
    pthread_mutex_lock(&objects_lock);
    const size_t i = find_object(at);
    if (i) objects[i - 1] = objects[--n_objects];
    pthread_mutex_unlock(&objects_lock);
    return i != 0;
}
