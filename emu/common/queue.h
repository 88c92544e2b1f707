/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/queue.h - an in-order queue of an emulated device: one thread that runs tasks one
 * after another, beside whoever put them there.
 *
 * Threads: any may put and wait; a task must not wait for its own queue. */
#ifndef MZ_EMU_COMMON_QUEUE_H
#define MZ_EMU_COMMON_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mze_queue mze_queue;

/* dropped: the queue went without running it; the task only gives back what it holds. */
typedef void mze_task(void *data, bool dropped);

mze_queue *mze_queue_new(void); /* NULL: no memory, no thread */
/* Runs what is left, or drops it (the task that runs is waited for). NULL is legal. */
void mze_queue_delete(mze_queue *q, bool drop);
/* False, and the task is the caller's, where there is no memory. */
bool mze_queue_put(mze_queue *q, mze_task *task, void *data);
/* Until all that was put before is done. ms < 0: for ever. False: the time is over. */
bool mze_queue_wait(mze_queue *q, int64_t ms);
bool mze_queue_is_idle(mze_queue *q);

#endif
