/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.h - time. Floor: base. Units: nanoseconds unless the name says otherwise. */
#ifndef MZ_BASE_CLOCK_H
#define MZ_BASE_CLOCK_H

#include <stdint.h>

int64_t mz_clock_ns(void);    /* monotonic, arbitrary origin */
double mz_clock_wall_s(void); /* seconds since 1970, for records that people read */
double mz_clock_cpu_s(void);  /* CPU seconds of this process */
void mz_clock_sleep_ns(int64_t ns);

#endif
