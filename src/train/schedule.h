/* SPDX-License-Identifier: Apache-2.0 */
/* train/schedule.h - the learning rate of a step.
 *
 * Step s counts from 0, W = warmup, N = steps, lr the largest, m = min_lr:
 *   warm-up   s < W:     lr * (s + 1) / W
 *   constant             lr
 *   cosine               m + (lr - m) * (1 + cos(pi * (s - W) / (N - W))) / 2
 *   wsd                  lr; in the last D = ceil(decay * N) steps  m + (lr - m) * (N - s) / D
 *   step                 lr, from 80 % of N on 0.316 lr, from 90 % on 0.316^2 lr; never below m
 * With W = 0 cosine is what transformers' cosine schedule gives; its warm-up starts from 0, ours
 * takes its first step with lr / W.
 *
 * Source: DeepSeek-AI 2024, arXiv:2401.06066, for step; Hu et al. 2024, arXiv:2404.06395, for wsd.
 * Floor:  train. */
#ifndef MZ_TRAIN_SCHEDULE_H
#define MZ_TRAIN_SCHEDULE_H

#include "train/config.h"

double mz_schedule_lr(const mz_train_config *c, int64_t step);

#endif
