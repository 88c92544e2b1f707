/* SPDX-License-Identifier: Apache-2.0 */
/* lib/chips.h - the chips of this build. Floor: lib. */
#ifndef MZ_LIB_CHIPS_H
#define MZ_LIB_CHIPS_H

#include "base/err.h"

/* Registers every built-in chip that is not yet, at start. */
mz_err mz_lib_register_chips(void);

#endif
