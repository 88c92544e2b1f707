/* SPDX-License-Identifier: Apache-2.0 */
/* app/chips.h - the chips of this build. Inside app/. */
#ifndef MZ_APP_CHIPS_H
#define MZ_APP_CHIPS_H

#include "base/err.h"

/* Registers every built-in chip; once, at start. */
mz_err mz_app_register_chips(void);

#endif
