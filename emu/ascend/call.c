/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/call.c - a call in two phases: what phase 1 checks of every operator, executors, and
 * the task that phase 2 puts on a stream.
 *
 * Owner: a call copies the descriptions and texts that it was given; the objects themselves must
 *        live until phase 2, which is checked. A call that is not repeatable goes with its task. */
#include "ascend/book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct aclOpExecutor {
    emu_call call;
};

enum { ADDRESS = 32, NAME = 96, DETAIL = 1400 };

static void free_call(emu_call *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->arg[i].tensor);
        free(c->arg[i].ints);
        free(c->arg[i].reals);
    }
}

static const emu_op *find_in(const emu_op *ops, const char *name)
{
    while (ops->name && strcmp(ops->name, name) != 0) ops++;
    return ops->name ? ops : NULL;
}

const emu_op *emu_op_find(const char *name)
{
    const emu_op *const lists[] = {
        emu_ops_map,    emu_ops_matmul,    emu_ops_rows,  emu_ops_softmax, emu_ops_order,
        emu_ops_rope,   emu_ops_attention, emu_ops_loss,  emu_ops_client,  emu_ops_foreach,
        emu_ops_curve,  emu_ops_fold,      emu_ops_index, emu_ops_found,   emu_ops_norm,
        emu_ops_random, emu_ops_conv,      emu_ops_moe};
    const emu_op *op = NULL;
    for (size_t i = 0; !op && i < sizeof lists / sizeof *lists; i++) op = find_in(lists[i], name);
    return op;
}

/* ---- phase 1 ---- */

static bool keep_tensors(emu_arg *a, const aclTensor *const *tensors, int64_t n)
{
    a->tensor = malloc((size_t)(n ? n : 1) * sizeof *a->tensor);
    for (int64_t i = 0; a->tensor && i < n; i++) a->tensor[i] = tensors[i]->tensor;
    a->n = (int)n;
    return a->tensor != NULL;
}

/* False: no memory. */
static bool keep(emu_arg *a, char kind, emu_value v)
{
    const aclTensor *tensor = v.p;
    a->kind = kind;
    if (strchr("TOLMSANW", kind)) {
        a->object = v.p;
        a->id = v.p ? emu_object_of(v.p) : 0;
        if (!a->id) return true; /* absent, or no object: live() sees that */
    }
    if (kind == 'T' || kind == 'O') return keep_tensors(a, &tensor, 1);
    if (kind == 'L' || kind == 'M') {
        const aclTensorList *l = v.p;
        return keep_tensors(a, (const aclTensor *const *)l->tensor, l->n);
    }
    if (kind == 'S') {
        const aclScalar *s = v.p;
        a->n = 1, a->d = s->d, a->i = s->i, a->type = s->type;
    } else if (kind == 'N') {
        const aclScalarList *list = v.p;
        a->reals = malloc((size_t)(list->n + 1) * sizeof *a->reals);
        for (int64_t i = 0; a->reals && i < list->n; i++) a->reals[i] = list->scalar[i]->d;
        a->n = (int)list->n;
        return a->reals != NULL;
    } else if (kind == 'A' || kind == 'W') {
        const aclIntArray *array = v.p;
        a->ints = malloc((size_t)(array->n + 1) * sizeof *a->ints);
        if (a->ints) memcpy(a->ints, array->value, (size_t)array->n * sizeof *a->ints);
        a->n = (int)array->n;
        return a->ints != NULL;
    } else if (kind == 'Z') {
        a->n = v.p != NULL;
        if (v.p)
            strncpy(a->text, v.p, sizeof a->text - 1); /* a client may reuse its text at once */
    } else if (kind == 'D' || kind == 'F') {
        a->d = v.d;
    } else {
        a->i = v.i;
    }
    return true;
}

/* Every object was made and not destroyed; those before the first that is optional are checked by
 * the operator. */
static aclnnStatus check_objects(const emu_call *c)
{
    for (int i = 0; i < c->n; i++) {
        const emu_arg *a = &c->arg[i];
        if (a->object && !a->id)
            return emu_fail(EMU_NN_INVALID, "aclnn%s: argument %d is no object that lives",
                            c->op->name, i + 1);
        for (int k = 0; k < (a->tensor ? a->n : 0); k++)
            if (a->tensor[k].type == EMU_BF16 && !emu_soc_here()->has_bf16)
                return emu_fail(EMU_NN_INVALID,
                                "aclnn%s: argument %d is BF16, which %s does not have", c->op->name,
                                i + 1, emu_soc_here()->name);
    }
    return 0;
}

static aclnnStatus prepare(const char *name, const char *kinds, const emu_value *v,
                           uint64_t *workspace, aclOpExecutor **executor)
{
    emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    if (!workspace || !executor) return emu_fail(EMU_NN_NULLPTR, "aclnn%s: NULL", name);
    const emu_op *op = emu_op_find(name);
    if (!op) abort(); /* a name of the list without a body: ours is the mistake */
    if (emu_soc_lacks(name))
        return emu_fail(EMU_NN_FIND_KERNEL, "aclnn%s: %s has no such kernel", name,
                        emu_soc_here()->name);
    aclOpExecutor *made = calloc(1, sizeof *made);
    if (!made) return emu_fail(EMU_BAD_ALLOC, "no host memory");
    emu_call *c = &made->call;
    c->op = op;
    c->device = here->device;
    c->n = (int)strlen(kinds);
    aclnnStatus code = 0;
    for (int i = 0; i < c->n && code == 0; i++)
        if (!keep(&c->arg[i], kinds[i], v[i])) code = emu_fail(EMU_BAD_ALLOC, "no host memory");
    if (code == 0) code = check_objects(c);
    if (code == 0) code = op->check(c);
    if (code != 0) {
        free_call(c);
        free(made);
        return code;
    }
    *workspace = c->workspace = emu_workspace_of(c);
    *executor = made;
    (void)emu_object_new(made);
    return 0;
}

aclnnStatus emu_phase1(const char *name, const char *kinds, const emu_value *v, uint64_t *workspace,
                       aclOpExecutor **executor)
{
    char call[NAME];
    const int64_t begin = emu_call_begin();
    (void)snprintf(call, sizeof call, "aclnn%sGetWorkspaceSize", name);
    aclnnStatus code = emu_gate(call);
    if (code == 0) code = prepare(name, kinds, v, workspace, executor);
    emu_call_end(call, begin);
    return code;
}

/* ---- phase 2 ---- */

typedef struct task {
    emu_call call;
    aclOpExecutor *executor; /* that goes with the task, or NULL */
    const void *workspace;
    const emu_fault *fault;
    int64_t since; /* when the host gave it, modelled */
} task;

/* Where the elements of one view lie in our memory. False: not all in one allocation. */
static bool resolve(emu_call *c, emu_tensor *t)
{
    const size_t size = emu_size_of(t->type);
    int64_t last = 0;
    t->at = NULL;
    if (emu_count(t) == 0) return true;
    for (int i = 0; i < t->rank; i++) last += (t->dim[i] - 1) * t->stride[i];
    if ((uintptr_t)t->base % ADDRESS != 0) {
        emu_stream_fault(c->stream, EMU_RT_AICORE_EXCEPTION,
                         "aclnn%s: address %p is not a multiple of %d", c->op->name,
                         (void *)t->base, ADDRESS);
        return false;
    }
    t->at = mze_memory_view(c->device->memory, t->base + (size_t)t->offset * size,
                            (size_t)(last + 1) * size);
    if (t->at) return true;
    emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION,
                     "aclnn%s: %p and %lld elements behind it are not device memory in use",
                     c->op->name, (void *)t->base, (long long)(t->offset + last + 1));
    return false;
}

/* Counts, models and traces the task. */
static void book(const task *k)
{
    const emu_call *c = &k->call;
    char name[NAME], detail[DETAIL] = "";
    emu_cost cost;
    emu_cost_of(c, &cost);
    const int device = c->device->number;
    const int64_t ns = emu_time_of(&cost), begin = emu_stream_spend(c->stream, k->since, ns);
    emu_tally(device, EMU_COUNT_operators, 1);
    emu_tally(device, EMU_COUNT_cube_flop, (int64_t)cost.cube);
    emu_tally(device, EMU_COUNT_vector_flop, (int64_t)cost.vector);
    emu_tally(device, EMU_COUNT_device_bytes, cost.bytes);
    if (!emu_trace_is_on()) return;
    (void)snprintf(name, sizeof name, "aclnn%s", c->op->name);
    emu_trace_detail(c, &cost, detail, sizeof detail);
    emu_trace_task(c->stream, name, begin, ns, detail);
}

/* What a planned fault makes of a task. False: it is not to run. */
static bool survives(task *k)
{
    char name[NAME];
    (void)snprintf(name, sizeof name, "aclnn%s", k->call.op->name);
    return emu_survives(k->fault, k->call.stream, name);
}

static void run_task(void *data, bool dropped)
{
    task *k = data;
    emu_call *c = &k->call;
    bool is_good = !dropped;
    for (int i = 0; i < c->n && is_good; i++)
        for (int t = 0; c->arg[i].tensor && t < c->arg[i].n && is_good; t++)
            is_good = resolve(c, &c->arg[i].tensor[t]);
    is_good = is_good && emu_workspace_use(c, k->workspace);
    if (is_good && survives(k)) {
        c->op->run(c);
        if (k->fault) emu_flip(c, k->fault);
        book(k);
    }
    if (k->executor) {
        free_call(c);
        free(k->executor);
    }
    free(k);
}

static aclnnStatus check_launch(const emu_call *c, const void *workspace, uint64_t bytes)
{
    for (int i = 0; i < c->n; i++)
        if (c->arg[i].object && emu_object_of(c->arg[i].object) != c->arg[i].id)
            return emu_fail(EMU_NN_INVALID, "aclnn%s: argument %d was destroyed before phase 2",
                            c->op->name, i + 1);
    if (bytes < c->workspace || (c->workspace && !workspace))
        return emu_fail(EMU_NN_INVALID, "aclnn%s: a workspace of %llu bytes where %llu are wanted",
                        c->op->name, (unsigned long long)bytes, (unsigned long long)c->workspace);
    return 0;
}

static aclnnStatus put_call(void *workspace, uint64_t bytes, aclOpExecutor *executor,
                            aclrtStream stream, int64_t since)
{
    emu_stream *s = NULL;
    char call[NAME];
    if (!executor) return emu_fail(EMU_NN_INNER_NULLPTR, "phase 2 without an executor");
    if (!emu_object_of(executor))
        return emu_fail(EMU_NN_NOT_TRANS_EXECUTOR,
                        "phase 2 with an executor that was used before or destroyed");
    emu_call *c = &executor->call;
    aclnnStatus code = check_launch(c, workspace, bytes);
    if (code == 0) code = emu_stream_of(stream, &s);
    (void)snprintf(call, sizeof call, "aclnn%s", c->op->name);
    if (code == 0) code = emu_gate(call);
    task *k = code == 0 ? malloc(sizeof *k) : NULL;
    if (code == 0 && !k) code = emu_fail(EMU_BAD_ALLOC, "no host memory");
    if (code != 0) return code;
    c->stream = s;
    *k = (task){*c, c->is_repeatable ? NULL : executor, workspace,
                emu_fault_next(call, c->device->number, EMU_FAULTS_TASK), since};
    if (!c->is_repeatable) (void)emu_object_end(executor);
    if (mze_queue_put(s->queue, run_task, k)) return 0;
    run_task(k, true);
    return emu_fail(EMU_BAD_ALLOC, "no host memory");
}

aclnnStatus emu_phase2(void *workspace, uint64_t bytes, aclOpExecutor *executor, aclrtStream stream)
{
    char call[NAME] = "aclnn, phase 2";
    const int64_t begin = emu_call_begin();
    if (executor && emu_object_of(executor))
        (void)snprintf(call, sizeof call, "aclnn%s", executor->call.op->name);
    const aclnnStatus code = put_call(workspace, bytes, executor, stream, emu_host_now());
    emu_call_end(call, begin);
    return code;
}

aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor *executor)
{
    if (!executor || !emu_object_of(executor))
        return emu_fail(EMU_NN_INNER_NULLPTR, "aclSetAclOpExecutorRepeatable: no executor");
    executor->call.is_repeatable = true;
    return 0;
}

/* Tasks of it must be done, which is its client's to see to. */
aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor *executor)
{
    if (!executor || !emu_object_end(executor))
        return emu_fail(EMU_NN_INNER_NULLPTR, "aclDestroyAclOpExecutor: no executor");
    free_call(&executor->call);
    free(executor);
    return 0;
}
