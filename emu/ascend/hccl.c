/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/hccl.c - communicators of the emulated HCCL: the root info, joining, what they are
 * asked, settings.
 *
 * Owner: a communicator belongs to its client until HcclCommDestroy; tasks that still run keep what
 *        they need of it. Threads: any, as many ranks of a process as it likes. */
#include "ascend/collective.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct HcclRootInfo {
    char bytes[EMU_HCCL_ROOT_BYTES];
};

/* The documented beginning, of every version; what follows it changes nothing here but execTimeOut.
 * Settings that were not made are all ones. */
struct HcclCommConfigDef {
    size_t size;
    uint32_t magic, version;
    uint64_t reserved;
    uint32_t buffer_mb, deterministic;
    char name[EMU_HCCL_NAME], udi[128];
    uint32_t expansion, traffic, service;
};

enum { EXEC_SECONDS = 1836, CONNECT_SECONDS = 120, CONNECT_MOST = 7200, BUFFER_MB = 200 };
static const uint32_t CONFIG_MAGIC = 0xF0F0F0F0, NOT_SET = 0xFFFFFFFF;
/* How far the settings of a client's structure may go: those that ours ends with were the first. */
enum { CONFIG_OLDEST = 300, CAPABILITY = 12 };
/* execTimeOut, -1 where it was not set. */
enum { CONFIG_WITH_SECONDS = 2232, CONFIG_SECONDS_AT = 316 };

/* ---- settings from the environment ---- */

/* least <= value <= most, else the default; what the documentation would not take says so once. */
static int64_t number_of(const char *name, int64_t otherwise, int64_t documented, int64_t most)
{
    static _Atomic uint32_t said;
    char *end = NULL;
    const char *text = getenv(name);
    if (!text || !*text) return otherwise;
    const long long x = strtoll(text, &end, 10);
    if (*end || x < 0 || x > most || (x == 0 && documented > 0)) {
        (void)fprintf(stderr, "EMULATED Ascend: %s=%s is no number from %lld to %lld: %lld\n", name,
                      text, (long long)documented, (long long)most, (long long)otherwise);
        return otherwise;
    }
    if (x < documented && !atomic_exchange(&said, 1))
        (void)fprintf(stderr, "EMULATED Ascend: %s=%s is taken here; HCCL takes %lld to %lld\n",
                      name, text, (long long)documented, (long long)most);
    return x;
}

int64_t emu_comm_connect_seconds(void)
{
    return number_of("HCCL_CONNECT_TIMEOUT", CONNECT_SECONDS, CONNECT_SECONDS, CONNECT_MOST);
}

/* ---- the root info ---- */

HcclResult HcclGetRootInfo(HcclRootInfo *root)
{
    emu_link_place place;
    const int64_t begin = emu_call_begin();
    int code = root ? emu_gate_hccl("HcclGetRootInfo")
                    : emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetRootInfo: rootInfo is NULL");
    if (code == 0) code = emu_gate_connect("HcclGetRootInfo");
    if (code == 0) code = emu_link_make(&place);
    if (code == 0) {
        memset(root, 0, sizeof *root);
        memcpy(root->bytes, &place, sizeof place);
    }
    emu_call_end("HcclGetRootInfo", begin);
    return code;
}

/* ---- making and leaving ---- */

static emu_comm *comm_new(const emu_link_place *place, emu_device *device, int rank, int n)
{
    emu_comm *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->place = *place;
    c->device = device;
    c->rank = rank;
    c->n = n;
    c->users = 1;
    c->exec_seconds = number_of("HCCL_EXEC_TIMEOUT", EXEC_SECONDS, 0, INT32_MAX);
    c->room = (size_t)number_of("HCCL_BUFFSIZE", BUFFER_MB, 1, 1 << 20) * 2 << 20;
    (void)snprintf(c->name, sizeof c->name, "emulated_%d_%02x%02x%02x%02x%02x%02x", place->process,
                   place->key[0], place->key[1], place->key[2], place->key[3], place->key[4],
                   place->key[5]);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    return c;
}

void emu_comm_leave(emu_comm *c)
{
    pthread_mutex_lock(&c->lock);
    const bool is_last = --c->users == 0;
    pthread_mutex_unlock(&c->lock);
    if (!is_last) return;
    if (c->buffer) (void)mze_memory_free(c->device->memory, c->buffer);
    if (c->buffer) emu_count_memory(c->device, 0);
    emu_link_close(c->shared);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int take_config(emu_comm *c, const HcclCommConfig *config, const char *call)
{
    if (!config) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: config is NULL", call);
    if (config->magic != CONFIG_MAGIC)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: the config was not initialised (magic 0x%x)",
                        call, config->magic);
    if (config->size < CONFIG_OLDEST)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: a config of %zu bytes", call, config->size);
    if (config->buffer_mb == 0)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: hcclBufferSize is 0", call);
    if (config->deterministic != NOT_SET && config->deterministic > 2)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: hcclDeterministic is %u", call,
                        config->deterministic);
    if (strnlen(config->name, EMU_HCCL_NAME) == EMU_HCCL_NAME)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: hcclCommName has no end", call);
    if (config->size >= CONFIG_WITH_SECONDS) {
        int32_t seconds = 0;
        memcpy(&seconds, (const char *)config + CONFIG_SECONDS_AT, sizeof seconds);
        if (seconds > 0) c->exec_seconds = seconds;
    }
    if (config->buffer_mb != NOT_SET) c->room = (size_t)config->buffer_mb * 2 << 20;
    if (config->name[0]) (void)snprintf(c->name, sizeof c->name, "%s", config->name);
    return 0;
}

int emu_comm_join(emu_comm **out, const emu_link_place *place, uint32_t n, uint32_t rank,
                  const HcclCommConfig *config, const char *call, int64_t seconds)
{
    const emu_context *here = emu_here();
    if (n == 0 || n > EMU_LINK_RANKS)
        return emu_fail(n ? EMU_HCCL_NOT_SUPPORT : EMU_HCCL_PARA,
                        "EI0003: %s: %u ranks, where the emulated machine has %d devices at most",
                        call, n, EMU_LINK_RANKS);
    if (rank >= n) return emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %u of %u", call, rank, n);
    emu_comm *c = comm_new(place, here->device, (int)rank, (int)n);
    if (!c) return emu_fail(EMU_HCCL_MEMORY, "%s: no host memory", call);
    int code = config ? take_config(c, config, call) : 0;
    if (code == 0) code = emu_link_open(&c->shared, place);
    if (code == 0) code = emu_link_join(c->shared, c->rank, c->n, c->device->number, seconds);
    if (code == 0 && !emu_object_new(c)) code = emu_fail(EMU_HCCL_MEMORY, "no host memory");
    if (code != 0) {
        emu_comm_leave(c);
        return code;
    }
    if (seconds >= 0) emu_link_made(place);
    *out = c;
    return 0;
}

static int init(uint32_t n, const HcclRootInfo *root, uint32_t rank, const HcclCommConfig *config,
                HcclComm *comm, const char *call)
{
    emu_link_place place;
    emu_comm *c = NULL;
    if (!root || !comm)
        return emu_fail(EMU_HCCL_PTR, "EI0003: %s: %s is NULL", call, root ? "comm" : "rootInfo");
    int code = emu_gate_hccl(call);
    if (code == 0) code = emu_gate_connect(call);
    if (code != 0) return code;
    memcpy(&place, root->bytes, sizeof place);
    code = emu_comm_join(&c, &place, n, rank, config, call, emu_comm_connect_seconds());
    if (code == 0) *comm = c;
    return code;
}

HcclResult HcclCommInitRootInfo(uint32_t n, const HcclRootInfo *root, uint32_t rank, HcclComm *comm)
{
    const int64_t begin = emu_call_begin();
    const int code = init(n, root, rank, NULL, comm, "HcclCommInitRootInfo");
    emu_call_end("HcclCommInitRootInfo", begin);
    return code;
}

HcclResult HcclCommInitRootInfoConfig(uint32_t n, const HcclRootInfo *root, uint32_t rank,
                                      const HcclCommConfig *config, HcclComm *comm)
{
    const char *call = "HcclCommInitRootInfoConfig";
    const int64_t begin = emu_call_begin();
    const int code = config ? init(n, root, rank, config, comm, call)
                            : emu_fail(EMU_HCCL_PTR, "EI0003: %s: config is NULL", call);
    emu_call_end(call, begin);
    return code;
}

/* ---- all ranks of one process at once ---- */

/* For each device, with this thread set to it meanwhile. */
static int join_all(const emu_link_place *place, uint32_t n, const int32_t *devices,
                    HcclComm *comms, const char *call)
{
    int code = 0;
    for (uint32_t i = 0; i < n && code == 0; i++) {
        emu_comm *c = NULL;
        if (aclrtSetDevice(devices[i]) != 0) return EMU_HCCL_PARA;
        code = emu_comm_join(&c, place, n, i, NULL, call, -1);
        if (code == 0) comms[i] = c;
    }
    return code;
}

static int init_all(uint32_t n, const int32_t *devices, HcclComm *comms, const char *call)
{
    emu_link_place place;
    if (!devices || !comms) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: NULL", call);
    int code = emu_gate_hccl(call);
    if (code == 0) code = emu_gate_connect(call);
    if (code != 0) return code;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (devices[i] == devices[k])
                return emu_fail(EMU_HCCL_PARA, "EI0003: %s: device %d twice", call, devices[i]);
    if (n == 0 || n > EMU_LINK_RANKS)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: %u devices", call, n);
    code = emu_link_make(&place);
    if (code != 0) return code;
    memset(comms, 0, n * sizeof *comms);
    emu_context *before = emu_here();
    code = join_all(&place, n, devices, comms, call);
    (void)aclrtSetCurrentContext(before);
    emu_link_made(&place);
    for (uint32_t i = 0; i < n && code != 0; i++)
        if (comms[i]) (void)HcclCommDestroy(comms[i]);
    return code;
}

HcclResult HcclCommInitAll(uint32_t n, int32_t *devices, HcclComm *comms)
{
    const int64_t begin = emu_call_begin();
    const int code = init_all(n, devices, comms, "HcclCommInitAll");
    emu_call_end("HcclCommInitAll", begin);
    return code;
}

HcclResult HcclCommDestroy(HcclComm comm)
{
    emu_comm *c = NULL;
    const int64_t begin = emu_call_begin();
    int code = emu_comm_of(comm, "HcclCommDestroy", &c);
    if (code == 0) code = emu_gate_hccl("HcclCommDestroy");
    if (code == 0 && emu_object_end(c)) emu_comm_leave(c);
    emu_call_end("HcclCommDestroy", begin);
    return code;
}

/* ---- asking ---- */

int emu_comm_of(HcclComm handle, const char *call, emu_comm **out)
{
    if (!handle) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: comm is NULL", call);
    if (!emu_object_of(handle))
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: %p is no communicator that lives", call,
                        handle);
    *out = handle;
    return 0;
}

HcclResult HcclGetRankId(HcclComm comm, uint32_t *rank)
{
    emu_comm *c = NULL;
    if (!rank) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetRankId: rank is NULL");
    const int code = emu_comm_of(comm, "HcclGetRankId", &c);
    if (code == 0) *rank = (uint32_t)c->rank;
    return code;
}

HcclResult HcclGetRankSize(HcclComm comm, uint32_t *n)
{
    emu_comm *c = NULL;
    if (!n) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetRankSize: rankSize is NULL");
    const int code = emu_comm_of(comm, "HcclGetRankSize", &c);
    if (code == 0) *n = (uint32_t)c->n;
    return code;
}

HcclResult HcclGetCommName(HcclComm comm, char *name)
{
    emu_comm *c = NULL;
    if (!name) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetCommName: commName is NULL");
    const int code = emu_comm_of(comm, "HcclGetCommName", &c);
    if (code == 0) memcpy(name, c->name, sizeof c->name);
    return code;
}

/* What another rank has said counts too. */
HcclResult HcclGetCommAsyncError(HcclComm comm, HcclResult *error)
{
    emu_comm *c = NULL;
    if (!error) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetCommAsyncError: NULL");
    const int code = emu_comm_of(comm, "HcclGetCommAsyncError", &c);
    if (code != 0) return code;
    pthread_mutex_lock(&c->lock);
    *error = c->error;
    pthread_mutex_unlock(&c->lock);
    if (!*error && atomic_load(&c->shared->broken)) *error = EMU_HCCL_REMOTE;
    return 0;
}

const char *HcclGetErrorString(HcclResult code)
{
    static const char *const texts[] = {"no error",
                                        "a wrong parameter",
                                        "a null pointer",
                                        "no memory",
                                        "internal error",
                                        "not supported",
                                        "not found",
                                        "unavailable",
                                        "a call of the system failed",
                                        "timeout",
                                        "a file does not open",
                                        "no TCP connection",
                                        "no RoCE connection",
                                        "TCP transfer",
                                        "RoCE transfer",
                                        "a call of the runtime failed",
                                        "a call of the driver failed",
                                        "profiling",
                                        "a call of CCE failed",
                                        "network",
                                        "try again",
                                        "a remote rank failed",
                                        "the communicator is suspending",
                                        "retry failed",
                                        "out of memory"};
    const bool is_known = code >= 0 && (size_t)code < sizeof texts / sizeof *texts;
    return is_known ? texts[code] : "unknown error";
}

/* Names all the settings that a structure of version 10 has. */
uint32_t HcclGetCommConfigCapability(void)
{
    return CAPABILITY;
}

static _Atomic int deterministic;

/* Sums are in one order either way. */
HcclResult HcclSetConfig(HcclConfig config, HcclConfigValue value)
{
    if (config != 0)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: HcclSetConfig: there is no setting %d",
                        config);
    if (value.value < 0 || value.value > 2)
        return emu_fail(EMU_HCCL_PARA, "EI0003: HcclSetConfig: %d is none of 0, 1, 2", value.value);
    atomic_store(&deterministic, value.value);
    return 0;
}

HcclResult HcclGetConfig(HcclConfig config, HcclConfigValue *value)
{
    if (!value) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetConfig: NULL");
    if (config != 0)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: HcclGetConfig: there is no setting %d",
                        config);
    value->value = atomic_load(&deterministic);
    return 0;
}
