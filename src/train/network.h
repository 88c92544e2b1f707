/* SPDX-License-Identifier: Apache-2.0 */
/* train/network.h - the network that a configuration names. Inside train/.
 *
 * Owner:  the caller closes *source, also after a failure; it stays NULL where weights are random.
 * Errors: of reading it; MZ_ECONFIG where the configuration wants other positions or layers than it
 *         has. */
#ifndef MZ_TRAIN_NETWORK_H
#define MZ_TRAIN_NETWORK_H

#include "port/source.h"
#include "train/config.h"

/* With the adapters that the configuration adds. */
mz_err mz_network_read(mz_config *network, mz_source **source, const mz_train_config *c);

#endif
