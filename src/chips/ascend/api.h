/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/api.h - the functions of ACL and aclnn that are looked up at run time.
 *
 * One list each; a pointer's type is that of the declaration in acl.h or aclnn.h. A function of ACL
 * must be there; one of aclnn may be missing, which is known when an operator is bound.
 *
 * Floor:  chips. */
#ifndef MZ_CHIPS_ASCEND_API_H
#define MZ_CHIPS_ASCEND_API_H

#include "base/err.h"
#include "chips/ascend/aclnn.h"
#include "chips/ascend/calls.h"

typedef aclnnStatus mz_aclnn_run(void *workspace, uint64_t bytes, aclOpExecutor *executor,
                                 aclrtStream stream);

typedef struct mz_acl {
#define MZ_ACL_MEMBER(name) __typeof__(name) *name;
    MZ_ACL_LIST(MZ_ACL_MEMBER)
    MZ_ACL_BASE_LIST(MZ_ACL_MEMBER)
#undef MZ_ACL_MEMBER
#define MZ_ACLNN_MEMBER(name)                                                                      \
    struct {                                                                                       \
        __typeof__(aclnn##name##GetWorkspaceSize) *size;                                           \
        mz_aclnn_run *run;                                                                         \
    } name;
    struct {
        MZ_ACLNN_LIST(MZ_ACLNN_MEMBER)
    } nn;
#undef MZ_ACLNN_MEMBER
    bool is_emulated; /* the driver is the emulated one, which says so itself */
} mz_acl;

/* Opens the libraries once a process; *acl stays valid for good. MZ_ENOTSUP with what is missing.
 */
mz_err mz_acl_load(const mz_acl **acl, const char *driver_path);
/* One of CANN's libraries; NULL where there is none. driver_path may be NULL. */
void *mz_acl_open_library(const char *driver_path, const char *name);
const char *mz_acl_name(int code); /* "out of memory", "" where the number says it all */
/* A code as our error, with the driver's own text. MZ_ENOMEM for memory, else MZ_ECHIP. */
mz_err mz_acl_fail(const mz_acl *acl, int code, const char *call);

#endif
