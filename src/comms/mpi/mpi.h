/* SPDX-License-Identifier: Apache-2.0 */
/* comms/mpi/mpi.h - the ranks of a run that mpirun or srun has started, on one machine or many.
 *
 * Open MPI is opened when it is asked for and not before; what ranks say goes through it byte by
 * byte as it goes through shared memory elsewhere, so the bits are the same.
 *
 * A rank that dies is the launcher's to notice, which ends the others. One that hangs is noticed by
 * who waits for it, after patience_s: MPI itself would wait for ever.
 *
 * Floor:  comms. May use comm, base.
 * Owner:  one comm a process, once. mz_comm_close ends MPI if the run ended in order on all ranks
 *         (mz_mpi_in_order); otherwise the process just ends, and the launcher ends the others.
 * Errors: MZ_ENOTSUP without the library; MZ_ETIMEOUT naming who was waited for; MZ_EIO with MPI's
 *         own words. */
#ifndef MZ_COMMS_MPI_MPI_H
#define MZ_COMMS_MPI_MPI_H

#include "comm/comm.h"

/* patience_s 0: waits for ever. Call before anything touches a driver. */
mz_err mz_mpi_open(mz_comm **comm, double patience_s);
/* Every rank will call close: MPI can be ended. */
void mz_mpi_in_order(mz_comm *comm);

#endif
