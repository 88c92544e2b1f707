/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.h - what the library has to say goes to one sink that app/ sets; without one it is
 * dropped. Floor: base. Time: the sink is called on the caller's thread, one call at a time. */
#ifndef MZ_BASE_LOG_H
#define MZ_BASE_LOG_H

#include "base/err.h"

typedef enum mz_log_level { MZ_LOG_DEBUG, MZ_LOG_INFO, MZ_LOG_WARN, MZ_LOG_LOUD } mz_log_level;
typedef void mz_log_sink(void *user, mz_log_level level, const char *line);

void mz_log_to(mz_log_sink *sink, void *user); /* NULL drops everything */
void mz_log(mz_log_level level, const char *fmt, ...) MZ_PRINTF(2, 3);

#endif
