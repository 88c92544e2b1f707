/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/objects.c - tensors, numbers and lists as a client describes them. */
#include "ascend/state.h"

#include <stdlib.h>
#include <string.h>

static bool is_described(const int64_t *dims, uint64_t n, const int64_t *strides)
{
    if (n > EMU_RANK || (n && !dims)) return false;
    for (uint64_t i = 0; i < n; i++)
        if (dims[i] < 0 || (strides && strides[i] < 0)) return false;
    return true;
}

aclTensor *aclCreateTensor(const int64_t *dims, uint64_t n_dims, aclDataType type,
                           const int64_t *strides, int64_t offset, aclFormat format,
                           const int64_t *storage, uint64_t n_storage, void *data)
{
    (void)format;
    if (!is_described(dims, n_dims, strides) || !is_described(storage, n_storage, NULL) ||
        offset < 0 || !emu_size_of(type)) {
        (void)emu_fail(EMU_NN_INVALID, "aclCreateTensor: %llu dims of type %d at offset %lld",
                       (unsigned long long)n_dims, type, (long long)offset);
        return NULL;
    }
    aclTensor *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    emu_tensor *t = &made->tensor;
    *t = (emu_tensor){.type = type, .rank = (int)n_dims, .offset = offset, .base = data};
    int64_t dense = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->dim[i] = dims[i];
        t->stride[i] = strides ? strides[i] : dense;
        dense *= dims[i];
    }
    (void)emu_object_new(made);
    return made;
}

aclScalar *aclCreateScalar(void *value, aclDataType type)
{
    aclScalar *s = value && emu_size_of(type) ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        (void)emu_fail(EMU_NN_INVALID, "aclCreateScalar: NULL, or type %d", type);
        return NULL;
    }
    s->type = type;
    emu_load(&s->d, type, value, 1, 1);
    if (type == EMU_INT64)
        memcpy(&s->i, value, sizeof s->i);
    else if (!emu_is_float(type))
        s->i = (int64_t)s->d;
    (void)emu_object_new(s);
    return s;
}

aclIntArray *aclCreateIntArray(const int64_t *values, uint64_t n)
{
    aclIntArray *a = values || !n ? malloc(sizeof *a) : NULL;
    int64_t *copy = a ? malloc((n ? n : 1) * sizeof *copy) : NULL;
    if (!copy) {
        free(a);
        (void)emu_fail(EMU_NN_NULLPTR, "aclCreateIntArray: NULL or no memory");
        return NULL;
    }
    if (n) memcpy(copy, values, n * sizeof *copy);
    *a = (aclIntArray){(int64_t)n, copy};
    (void)emu_object_new(a);
    return a;
}

/* Kept as integers. */
aclBoolArray *aclCreateBoolArray(const bool *values, uint64_t n)
{
    aclIntArray *a = values || !n ? aclCreateIntArray(NULL, 0) : NULL;
    int64_t *copy = a ? realloc(a->value, (n ? n : 1) * sizeof *copy) : NULL;
    if (!copy) {
        (void)emu_fail(EMU_NN_NULLPTR, "aclCreateBoolArray: NULL or no memory");
        return NULL;
    }
    for (uint64_t i = 0; i < n; i++) copy[i] = values[i];
    *a = (aclIntArray){(int64_t)n, copy};
    return (aclBoolArray *)a;
}

aclTensorList *aclCreateTensorList(const aclTensor *const *tensors, uint64_t n)
{
    aclTensorList *l = tensors || !n ? malloc(sizeof *l) : NULL;
    aclTensor **copy = l ? malloc((n ? n : 1) * sizeof(aclTensor *)) : NULL;
    if (!copy) {
        free(l);
        (void)emu_fail(EMU_NN_NULLPTR, "aclCreateTensorList: NULL or no memory");
        return NULL;
    }
    if (n) memcpy(copy, tensors, n * sizeof(aclTensor *));
    *l = (aclTensorList){(int64_t)n, copy};
    (void)emu_object_new(l);
    return l;
}

aclScalarList *aclCreateScalarList(const aclScalar *const *scalars, uint64_t n)
{
    aclScalarList *l = scalars || !n ? malloc(sizeof *l) : NULL;
    aclScalar **copy = l ? malloc((n ? n : 1) * sizeof(aclScalar *)) : NULL;
    if (!copy) {
        free(l);
        (void)emu_fail(EMU_NN_NULLPTR, "aclCreateScalarList: NULL or no memory");
        return NULL;
    }
    if (n) memcpy(copy, scalars, n * sizeof(aclScalar *));
    *l = (aclScalarList){(int64_t)n, copy};
    (void)emu_object_new(l);
    return l;
}

/* Of what a task made, after a wait for it. The client frees the dims. */
aclnnStatus aclGetViewShape(const aclTensor *tensor, int64_t **dims, uint64_t *n)
{
    if (!tensor || !dims || !n || !emu_object_of(tensor))
        return emu_fail(EMU_NN_NULLPTR, "aclGetViewShape: NULL, or no tensor that lives");
    const emu_tensor *t = &tensor->tensor;
    *dims = malloc(((size_t)t->rank + 1) * sizeof **dims);
    if (!*dims) return emu_fail(EMU_BAD_ALLOC, "no host memory");
    *n = (uint64_t)t->rank;
    memcpy(*dims, t->dim, (size_t)t->rank * sizeof **dims);
    return 0;
}

void emu_tensor_shape(const void *object, uint64_t id, int rank, const int64_t *dims)
{
    aclTensor *tensor = (aclTensor *)(uintptr_t)object;
    if (emu_object_of(object) != id) return;
    tensor->tensor.rank = rank;
    memcpy(tensor->tensor.dim, dims, (size_t)rank * sizeof *dims);
}

static aclnnStatus gone(const void *at, const char *call)
{
    if (!at) return emu_fail(EMU_NN_NULLPTR, "%s: NULL", call);
    if (emu_object_end(at)) return 0;
    return emu_fail(EMU_NN_INVALID, "%s: no such object lives, it may be gone already", call);
}

aclnnStatus aclDestroyTensor(const aclTensor *tensor)
{
    const aclnnStatus code = gone(tensor, "aclDestroyTensor");
    if (code == 0) free((void *)(uintptr_t)tensor);
    return code;
}

aclnnStatus aclDestroyScalar(const aclScalar *scalar)
{
    const aclnnStatus code = gone(scalar, "aclDestroyScalar");
    if (code == 0) free((void *)(uintptr_t)scalar);
    return code;
}

aclnnStatus aclDestroyIntArray(const aclIntArray *array)
{
    const aclnnStatus code = gone(array, "aclDestroyIntArray");
    if (code != 0) return code;
    free(array->value);
    free((void *)(uintptr_t)array);
    return 0;
}

aclnnStatus aclDestroyBoolArray(const aclBoolArray *array)
{
    return aclDestroyIntArray((const aclIntArray *)array);
}

/* A list takes its tensors along. */
aclnnStatus aclDestroyTensorList(const aclTensorList *list)
{
    aclnnStatus code = gone(list, "aclDestroyTensorList");
    if (code != 0) return code;
    for (int64_t i = 0; i < list->n; i++) {
        const aclnnStatus here = list->tensor[i] ? aclDestroyTensor(list->tensor[i]) : 0;
        if (code == 0) code = here;
    }
    free(list->tensor);
    free((void *)(uintptr_t)list);
    return code;
}

/* And so does one of numbers. */
aclnnStatus aclDestroyScalarList(const aclScalarList *list)
{
    aclnnStatus code = gone(list, "aclDestroyScalarList");
    if (code != 0) return code;
    for (int64_t i = 0; i < list->n; i++) {
        const aclnnStatus here = list->scalar[i] ? aclDestroyScalar(list->scalar[i]) : 0;
        if (code == 0) code = here;
    }
    free(list->scalar);
    free((void *)(uintptr_t)list);
    return code;
}
