/* SPDX-License-Identifier: Apache-2.0 */
/* app/sampling.c - see sampling.h. */
#include "app/sampling.h"

mz_sampling mz_cli_sampling(const mz_cli *cli, const mz_sampling *absent)
{
    return (mz_sampling){.temperature = mz_cli_real(cli, "temperature", absent->temperature),
                         .top_p = mz_cli_real(cli, "top-p", absent->top_p),
                         .min_p = mz_cli_real(cli, "min-p", absent->min_p),
                         .repeat_penalty =
                             mz_cli_real(cli, "repeat-penalty", absent->repeat_penalty),
                         .top_k = mz_cli_int(cli, "top-k", absent->top_k),
                         .repeat_last = absent->repeat_last,
                         .seed = (uint64_t)mz_cli_int(cli, "seed", 0)};
}

mz_err mz_cli_stops(const mz_cli *cli, const char *stops[MZ_STOPS_MAX], int *n)
{
    if (mz_cli_texts(cli, "stop") > MZ_STOPS_MAX)
        return MZ_FAIL(MZ_EUSAGE, "more than %d --stop", MZ_STOPS_MAX);
    *n = mz_cli_texts(cli, "stop");
    for (int i = 0; i < *n; i++) stops[i] = mz_cli_text_at(cli, "stop", i);
    return MZ_OK;
}
