/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/faults.c - a plan of faults: reading and judging it, and which call each strikes. */
#include "ascend/book.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAULTS = 64, WHY = 320 };
enum { HCCL_MEMORY = 3, HCCL_INTERNAL = 4, HCCL_RUNTIME = 15, HCCL_CODES = 2000 };

/* ---- the plan's words ---- */

enum { K_CALL = 1, K_CODE = 2, K_FLIP = 4, K_WHAT = 8, K_COUNT = 16 };

typedef struct kind_row {
    const char *name;
    const char *call; /* unless the plan names one */
    int code;
    unsigned keys;
    const char *what; /* the key of a library, symbol or version */
} kind_row;

static const kind_row KINDS[] = {
    [EMU_FAULT_MEMORY] = {"out_of_memory", "aclrtMalloc", 207001, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_ERROR] = {"error", NULL, 361001, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_LATE] = {"late", "aclnn*", 507015, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_ENDLESS] = {"endless", "aclnn*", 0, K_CALL | K_COUNT, NULL},
    [EMU_FAULT_SILENT] = {"silent", "aclnn*", 0, K_CALL | K_COUNT, NULL},
    [EMU_FAULT_FLIP] = {"flip", "aclnn*", 0, K_CALL | K_FLIP | K_COUNT, NULL},
    [EMU_FAULT_ECC] = {"ecc", "aclnn*", 507054, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_LOST] = {"device_lost", "aclnn*", 507010, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_HCCL] = {"hccl_timeout", "Hccl*", 9, K_CALL | K_CODE | K_COUNT, NULL},
    [EMU_FAULT_LIBRARY] = {"missing_library", "", 0, K_WHAT, "library"},
    [EMU_FAULT_SYMBOL] = {"missing_symbol", "", 0, K_WHAT, "symbol"},
    [EMU_FAULT_VERSION] = {"version", "", 0, K_WHAT, "version"},
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static emu_fault plan[FAULTS];
static int n_plan;
static bool is_read;
static pthread_mutex_t plan_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- reading ---- */

__attribute__((format(printf, 2, 3))) static bool say(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, WHY, format, arguments);
    va_end(arguments);
    return false;
}

static bool whole(const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    const long long x = strtoll(text, &end, 10);
    if (end == text || *end || x < least || x > most) return false;
    *out = x;
    return true;
}

static bool read_number(emu_fault *f, const char *key, const char *value, char *why)
{
    static const struct {
        const char *key;
        int64_t least, most;
    } numbers[] = {{"at", 1, INT64_MAX},   {"times", 1, INT64_MAX},   {"device", 0, 7},
                   {"code", 1, INT32_MAX}, {"argument", 1, EMU_ARGS}, {"element", 0, INT64_MAX},
                   {"bit", 0, 63}};
    enum { AT, TIMES, DEVICE, CODE, ARGUMENT, ELEMENT, BIT, N };
    int i = 0;
    int64_t x = 0;
    while (i < N && strcmp(numbers[i].key, key) != 0) i++;
    const unsigned keys = KINDS[f->kind].keys;
    const bool is_here = (i <= DEVICE && keys & K_COUNT) || (i == CODE && keys & K_CODE) ||
                         (i > CODE && i < N && keys & K_FLIP);
    if (!is_here)
        return say(why,
                   "a fault of this kind has no key \"%s\"\ncall, device, at, times, code; a "
                   "flip has argument, element, bit; missing_library: library, "
                   "missing_symbol: symbol, version: version",
                   key);
    if (!whole(value, numbers[i].least, numbers[i].most, &x))
        return say(why, "%s is \"%.40s\", want a whole number from %lld on", key, value,
                   (long long)numbers[i].least);
    if (i == AT) f->at = x;
    if (i == TIMES) f->times = x;
    if (i == DEVICE) f->device = (int)x;
    if (i == CODE) f->code = (int)x;
    if (i == ARGUMENT) f->argument = (int)x;
    if (i == ELEMENT) f->element = x;
    if (i == BIT) f->bit = x;
    return true;
}

static bool is_name(const char *text)
{
    const size_t n =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && (text[n] == 0 || (text[n] == '*' && text[n + 1] == 0));
}

static bool read_pair(emu_fault *f, char *word, char *why)
{
    char *value = strchr(word, '=');
    const kind_row *kind = &KINDS[f->kind];
    if (!value) return say(why, "\"%.40s\" is not KEY=VALUE", word);
    *value++ = 0;
    if (strcmp(word, "call") == 0 && kind->keys & K_CALL) {
        if (strlen(value) >= sizeof f->call || !is_name(value))
            return say(why,
                       "call is \"%.60s\", want the name of a function, or the beginning of "
                       "names and *\naclnnMm, aclnn*, aclrtMemcpyAsync",
                       value);
        (void)snprintf(f->call, sizeof f->call, "%s", value);
        return true;
    }
    if (kind->what && strcmp(word, kind->what) == 0) {
        int32_t v[3];
        if (!*value || strlen(value) >= sizeof f->what || strchr(value, '/'))
            return say(why, "\"%.60s\" is no name", value);
        if (f->kind == EMU_FAULT_VERSION && sscanf(value, "%d.%d.%d", &v[0], &v[1], &v[2]) != 3)
            return say(why, "version is \"%.40s\", want three numbers, as 1.9.0", value);
        (void)snprintf(f->what, sizeof f->what, "%s", value);
        return true;
    }
    return read_number(f, word, value, why);
}

static bool read_line(emu_fault *f, char *line, char *why)
{
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    int kind = 0;
    while (kind < N_KINDS && strcmp(KINDS[kind].name, word) != 0) kind++;
    if (kind == N_KINDS)
        return say(why,
                   "there is no kind of fault \"%.40s\"\none of out_of_memory, error, late, "
                   "endless, silent, flip, ecc, device_lost, hccl_timeout, missing_library, "
                   "missing_symbol, version",
                   word);
    *f = (emu_fault){.kind = (emu_fault_kind)kind,
                     .device = -1,
                     .at = 1,
                     .times = 1,
                     .code = KINDS[kind].code,
                     .bit = -1};
    if (KINDS[kind].call) (void)snprintf(f->call, sizeof f->call, "%s", KINDS[kind].call);
    while ((word = strtok_r(NULL, " ", &rest)) != NULL)
        if (!read_pair(f, word, why)) return false;
    if (!KINDS[kind].call && !f->call[0])
        return say(why,
                   "a fault of kind %s names no call\ncall: aclnnMm, aclnn*, "
                   "aclrtMemcpyAsync",
                   KINDS[kind].name);
    if (KINDS[kind].what && !f->what[0])
        return say(why, "a fault of this kind wants the key \"%s\"", KINDS[kind].what);
    return true;
}

/* Reads all of text into at most FAULTS entries. False, with why and the line, where it is wrong.
 */
static bool read_text(const char *text, emu_fault *out, int *n, int *line, char *why)
{
    *n = 0;
    for (*line = 1; text && *text; (*line)++) {
        char one[512];
        const size_t length = strcspn(text, "\n");
        if (*n == FAULTS) return say(why, "more than %d faults", FAULTS);
        if (length >= sizeof one)
            return say(why, "a line of more than %d letters", (int)sizeof one - 1);
        memcpy(one, text, length);
        one[length] = 0;
        text += length + (text[length] == '\n');
        if (one[strspn(one, " ")] == 0) continue;
        if (!read_line(&out[*n], one, why)) return false;
        (*n)++;
    }
    return true;
}

const char *mizan_emulated_ascend_judge(const char *text, int *line)
{
    static char why[WHY];
    static emu_fault some[FAULTS];
    int n = 0;
    return read_text(text, some, &n, line, why) ? NULL : why;
}

int emu_faults_read(void)
{
    char why[WHY];
    int line = 0;
    pthread_mutex_lock(&plan_lock);
    const bool is_good =
        is_read || read_text(getenv("MIZAN_EMU_ASCEND_FAULTS"), plan, &n_plan, &line, why);
    if (is_good)
        is_read = true;
    else
        n_plan = 0;
    pthread_mutex_unlock(&plan_lock);
    return is_good ? 0
                   : emu_fail(EMU_INVALID_PARAM, "MIZAN_EMU_ASCEND_FAULTS, line %d: %s", line, why);
}

/* ---- striking ---- */

static bool is_for(const emu_fault *f, const char *call, int device)
{
    const size_t n = strlen(f->call);
    if (f->device >= 0 && f->device != device) return false;
    if (n > 0 && f->call[n - 1] == '*') return strncmp(f->call, call, n - 1) == 0;
    return strcmp(f->call, call) == 0;
}

const emu_fault *emu_fault_next(const char *call, int device, unsigned kinds)
{
    const emu_fault *found = NULL;
    pthread_mutex_lock(&plan_lock);
    for (int i = 0; i < n_plan; i++) {
        emu_fault *f = &plan[i];
        if (!(kinds & 1U << f->kind) || !is_for(f, call, device)) continue;
        f->seen++;
        if (!found && f->seen >= f->at && f->seen - f->at < f->times) found = f;
    }
    pthread_mutex_unlock(&plan_lock);
    if (found) emu_tally(device, EMU_COUNT_faults, 1);
    return found;
}

void emu_lose(emu_device *d, int code)
{
    pthread_mutex_lock(&emu_lock);
    if (!d->dying) d->dying = code;
    pthread_mutex_unlock(&emu_lock);
}

bool emu_is_dying(emu_device *d)
{
    pthread_mutex_lock(&emu_lock);
    const bool is_dying = d->dying != 0;
    pthread_mutex_unlock(&emu_lock);
    return is_dying;
}

int emu_told_lost(emu_device *d)
{
    pthread_mutex_lock(&emu_lock);
    d->lost = d->dying;
    const int lost = d->lost;
    pthread_mutex_unlock(&emu_lock);
    return lost;
}

int emu_gate(const char *call)
{
    emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    emu_device *d = here->device;
    const emu_fault *f = emu_fault_next(call, d->number, EMU_FAULTS_ENTRY);
    pthread_mutex_lock(&emu_lock);
    const int lost = d->lost;
    pthread_mutex_unlock(&emu_lock);
    if (lost) return emu_fail(lost, "%s: device %d is lost", call, d->number);
    if (!f) return 0;
    if (f->kind == EMU_FAULT_MEMORY)
        return emu_fail(f->code, "%s: device %d has no memory left (planned)", call, d->number);
    return emu_fail(f->code, "%s fails (planned)", call);
}

/* Codes of the runtime are none of HCCL: a lost device is 15, what has no memory 3, another 4. */
int emu_gate_hccl(const char *call)
{
    const emu_context *here = emu_here();
    if (!here) return HCCL_RUNTIME;
    const emu_fault *f = emu_fault_next(call, here->device->number, EMU_FAULTS_ENTRY);
    pthread_mutex_lock(&emu_lock);
    const int lost = here->device->lost;
    pthread_mutex_unlock(&emu_lock);
    if (lost && strcmp(call, "HcclCommDestroy") != 0) /* what is put away */
        return emu_fail(HCCL_RUNTIME, "%s: device %d is lost (%d)", call, here->device->number,
                        lost);
    if (!f) return 0;
    const int code = f->code < HCCL_CODES          ? f->code
                     : f->kind == EMU_FAULT_MEMORY ? HCCL_MEMORY
                                                   : HCCL_INTERNAL;
    return emu_fail(
        code, f->kind == EMU_FAULT_MEMORY ? "%s: no memory left (planned)" : "%s fails (planned)",
        call);
}

int emu_gate_connect(const char *call)
{
    const emu_context *here = emu_here();
    const emu_fault *f =
        here ? emu_fault_next(call, here->device->number, 1U << EMU_FAULT_HCCL) : NULL;
    return f ? emu_fail(f->code, "EI0006: %s: no rank answers in time (planned)", call) : 0;
}

bool emu_fault_version(int32_t version[3])
{
    bool is_planned = false;
    pthread_mutex_lock(&plan_lock);
    for (int i = 0; i < n_plan; i++)
        if (plan[i].kind == EMU_FAULT_VERSION)
            is_planned =
                sscanf(plan[i].what, "%d.%d.%d", &version[0], &version[1], &version[2]) == 3;
    pthread_mutex_unlock(&plan_lock);
    return is_planned;
}

bool emu_survives(const emu_fault *f, emu_stream *s, const char *task)
{
    emu_device *d = s->context->device;
    if (emu_is_dying(d)) return false;
    if (!f || f->kind == EMU_FAULT_FLIP) return true;
    if (f->kind == EMU_FAULT_ENDLESS) emu_stream_hang(s);
    if (f->kind == EMU_FAULT_ECC || f->kind == EMU_FAULT_LOST) emu_lose(d, f->code);
    if (f->code) emu_stream_fault(s, f->code, "%s on device %d fails (planned)", task, d->number);
    return false;
}

/* The tensor that a flip is of: argument N, or the last that is declared as written, or the last.
 */
static emu_tensor *struck(emu_call *c, int argument)
{
    emu_tensor *last = NULL, *written = NULL;
    for (int i = 0; i < c->n; i++) {
        emu_tensor *t = c->arg[i].tensor && c->arg[i].n ? c->arg[i].tensor : NULL;
        if (argument == i + 1) return t;
        if (t && emu_count(t) > 0) last = t;
        if (t && emu_count(t) > 0 && strchr("OM", c->arg[i].kind)) written = t;
    }
    return argument ? NULL : written ? written : last;
}

/* By itself the highest bit but the sign: of a float the upper of the exponent. */
void emu_flip(emu_call *c, const emu_fault *f)
{
    const emu_tensor *t = struck(c, f->argument);
    if (!t || !t->at || emu_count(t) == 0) return;
    const int64_t bits = 8 * (int64_t)emu_size_of(t->type);
    const int64_t bit = f->bit >= 0 ? f->bit % bits : bits - 2;
    int64_t element = f->element % emu_count(t), at = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        at += element % t->dim[i] * t->stride[i];
        element /= t->dim[i];
    }
    t->at[at * bits / 8 + bit / 8] ^= (unsigned char)(1U << bit % 8);
}

/* Of a copy, taken as f32. */
void emu_flip_bytes(unsigned char *at, size_t bytes, const emu_fault *f)
{
    enum { SIZE = 4 };
    if (bytes < SIZE) return;
    const size_t element = (size_t)f->element % (bytes / SIZE);
    const int64_t bit = f->bit >= 0 ? f->bit % (8 * SIZE) : 8 * SIZE - 2;
    at[element * SIZE + (size_t)bit / 8] ^= (unsigned char)(1U << bit % 8);
}
