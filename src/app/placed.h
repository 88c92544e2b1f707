/* SPDX-License-Identifier: Apache-2.0 */
/* app/placed.h - the chips that a command's network is to lie on: --chip, or --ranks (the options
 * of MZ_COMMON_RANKS). Floor: app. */
#ifndef MZ_APP_PLACED_H
#define MZ_APP_PLACED_H

#include "app/cli.h"
#include "infer/chain.h"

/* Close it, whether it worked or not. MZ_EUSAGE for both options, or ranks that are no such list.
 */
mz_err mz_app_open_chips(const mz_cli *cli, mz_chips *chips);
void mz_app_close_chips(mz_chips *chips);

/* [{chip, layers, bytes}]: what lies where, bytes the most that the chip had booked. NULL where
 * there is no memory. */
json_t *mz_app_chips_json(const mz_chips *chips);
/* The same as a line on stderr for each chip, where there are several. */
void mz_app_tell_chips(const mz_chips *chips);

#endif
