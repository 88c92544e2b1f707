/* SPDX-License-Identifier: Apache-2.0 */
/* comms/mpi/abi.h - what is used of Open MPI's C interface (libmpi.so.40, versions 3 to 5),
 * declared from the MPI standard. Its handles are pointers to objects of its own; the predefined
 * ones are symbols, whose address is the handle. Private to comms/mpi. Floor: comms. */
#ifndef MZ_COMMS_MPI_ABI_H
#define MZ_COMMS_MPI_ABI_H

typedef struct mz_mpi_object *mz_mpi_handle; /* MPI_Comm, MPI_Datatype, MPI_Request, ... */

enum { MZ_MPI_SUCCESS = 0, MZ_MPI_THREAD_FUNNELED = 1, MZ_MPI_TEXT = 256 };

/* A status argument may be NULL (MPI_STATUS_IGNORE). */
typedef struct mz_mpi_abi {
    int (*init_thread)(int *argc, char ***argv, int required, int *provided);
    int (*finalize)(void);
    int (*comm_rank)(mz_mpi_handle comm, int *rank);
    int (*comm_size)(mz_mpi_handle comm, int *size);
    int (*comm_set_errhandler)(mz_mpi_handle comm, mz_mpi_handle handler);
    int (*isend)(const void *data, int count, mz_mpi_handle type, int to, int tag,
                 mz_mpi_handle comm, mz_mpi_handle *request);
    int (*irecv)(void *data, int count, mz_mpi_handle type, int from, int tag, mz_mpi_handle comm,
                 mz_mpi_handle *request);
    int (*test)(mz_mpi_handle *request, int *is_done, void *status);
    int (*error_string)(int code, char *text, int *length);
    mz_mpi_handle world, byte, errors_return; /* &ompi_mpi_comm_world, ... */
} mz_mpi_abi;

#endif
