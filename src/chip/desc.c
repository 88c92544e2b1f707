/* SPDX-License-Identifier: Apache-2.0 */
/* chip/desc.c - names and roles of every operator's arguments: the one place that wrappers read. */
#include "chip/desc.h"

enum {
    NO = MZ_ARG_NONE,
    IN = MZ_ARG_IN,
    OUT = MZ_ARG_OUT,
    ADD = MZ_ARG_INOUT,
    OIN = MZ_ARG_IN | MZ_ARG_OPTIONAL,
    OOUT = MZ_ARG_OUT | MZ_ARG_OPTIONAL,
    OADD = MZ_ARG_INOUT | MZ_ARG_OPTIONAL
};

static const mz_op_signature SIGNATURES[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL] = {"matmul",
                      8,
                      true,
                      {{"c", OUT, NO},
                       {"a", IN, OIN},
                       {"b", IN, OIN},
                       {"bias", OIN, NO},
                       {"dc", NO, IN},
                       {"da", NO, OOUT},
                       {"db", NO, OADD},
                       {"dbias", NO, OADD}}},
    [MZ_OP_EXPERTS] = {"experts",
                       7,
                       true,
                       {{"y", OUT, NO},
                        {"x", IN, IN},
                        {"w", IN, IN},
                        {"offsets", IN, IN},
                        {"dy", NO, IN},
                        {"dx", NO, OOUT},
                        {"dw", NO, OADD}}},
    [MZ_OP_RMSNORM] = {"rmsnorm",
                       7,
                       true,
                       {{"y", OUT, NO},
                        {"saved", OOUT, IN},
                        {"x", IN, IN},
                        {"w", IN, IN},
                        {"dy", NO, IN},
                        {"dx", NO, OUT},
                        {"dw", NO, ADD}}},
    [MZ_OP_ROPE] = {"rope",
                    7,
                    true,
                    {{"y", OUT, NO},
                     {"x", IN, NO},
                     {"cos", IN, IN},
                     {"sin", IN, IN},
                     {"pos", IN, IN},
                     {"dy", NO, IN},
                     {"dx", NO, OUT}}},
    [MZ_OP_ATTENTION] = {"attention",
                         10,
                         true,
                         {{"out", OUT, IN},
                          {"saved", OOUT, IN},
                          {"q", IN, IN},
                          {"k", IN, IN},
                          {"v", IN, IN},
                          {"cu", IN, IN},
                          {"dout", NO, IN},
                          {"dq", NO, OUT},
                          {"dk", NO, OUT},
                          {"dv", NO, OUT}}},
    [MZ_OP_DECODE] = {"decode",
                      7,
                      false,
                      {{"out", OUT, NO},
                       {"q", IN, NO},
                       {"k_cache", IN, NO},
                       {"v_cache", IN, NO},
                       {"table", IN, NO},
                       {"lens", IN, NO},
                       {"cu", IN, NO}}},
    [MZ_OP_SWIGLU] = {"swiglu",
                      6,
                      true,
                      {{"y", OUT, NO},
                       {"gate", IN, IN},
                       {"up", IN, IN},
                       {"dy", NO, IN},
                       {"dgate", NO, OUT},
                       {"dup", NO, OUT}}},
    [MZ_OP_EMBED] =
        {"embed",
         5,
         true,
         {{"y", OUT, NO}, {"w", IN, NO}, {"ids", IN, IN}, {"dy", NO, IN}, {"dw", NO, ADD}}},
    [MZ_OP_ROUTER] = {"router",
                      9,
                      true,
                      {{"weights", OUT, IN},
                       {"ids", OUT, IN},
                       {"probs", OOUT, NO},
                       {"saved", OOUT, IN},
                       {"logits", IN, IN},
                       {"bias", OIN, NO},
                       {"dweights", NO, IN},
                       {"dprobs", NO, OIN},
                       {"dlogits", NO, OUT}}},
    [MZ_OP_BALANCE] = {"balance",
                       6,
                       false,
                       {{"loss", OUT, NO},
                        {"dprobs", OOUT, NO},
                        {"counts", OADD, NO},
                        {"probs", IN, NO},
                        {"ids", IN, NO},
                        {"cu", IN, NO}}},
    [MZ_OP_PERMUTE] = {"permute",
                       7,
                       true,
                       {{"y", OUT, NO},
                        {"offsets", OUT, NO},
                        {"row_of", OUT, IN},
                        {"x", IN, NO},
                        {"ids", IN, NO},
                        {"dy", NO, IN},
                        {"dx", NO, OUT}}},
    [MZ_OP_UNPERMUTE] = {"unpermute",
                         8,
                         true,
                         {{"y", OUT, NO},
                          {"z", IN, IN},
                          {"row_of", IN, IN},
                          {"weights", IN, IN},
                          {"base", OIN, NO},
                          {"dy", NO, IN},
                          {"dz", NO, OUT},
                          {"dweights", NO, OUT}}},
    [MZ_OP_XENT] = {"xent",
                    5,
                    false,
                    {{"loss", OUT, NO},
                     {"dlogits", OOUT, NO},
                     {"logits", IN, NO},
                     {"targets", IN, NO},
                     {"weight", OIN, NO}}},
    [MZ_OP_ADAMW] =
        {"adamw",
         5,
         false,
         {{"p", ADD, NO}, {"m", ADD, NO}, {"v", ADD, NO}, {"g", IN, NO}, {"copy", OOUT, NO}}},
    [MZ_OP_SUMSQ] = {"sumsq", 2, false, {{"out", ADD, NO}, {"x", IN, NO}}},
    [MZ_OP_FINITE] = {"finite", 2, false, {{"out", ADD, NO}, {"x", IN, NO}}},
    [MZ_OP_CAST] = {"cast", 2, false, {{"y", OUT, NO}, {"x", IN, NO}}},
    [MZ_OP_ELEMENTWISE] = {"elementwise", 3, false, {{"y", OUT, NO}, {"a", IN, NO}, {"b", IN, NO}}},
    [MZ_OP_REDUCE] = {"reduce", 2, false, {{"y", OUT, NO}, {"x", IN, NO}}},
    [MZ_OP_ROWS] = {"rows", 3, false, {{"y", OUT, NO}, {"x", IN, NO}, {"idx", IN, NO}}},
    [MZ_OP_SAMPLE] = {"sample",
                      3,
                      false,
                      {{"ids", OUT, NO}, {"logits", IN, NO}, {"history", OIN, NO}}},
};

const mz_op_signature *mz_op_signature_of(mz_op_kind kind)
{
    return &SIGNATURES[kind];
}

const char *mz_op_name(mz_op_kind kind)
{
    return (unsigned)kind < MZ_OP_COUNT ? SIGNATURES[kind].name : "?";
}

/* How many inputs an elementwise function reads. */
static int elementwise_inputs(mz_elementwise_fn fn)
{
    return fn == MZ_EW_FILL ? 0 : fn == MZ_EW_SCALE || fn == MZ_EW_COPY ? 1 : 2;
}

unsigned mz_arg_role(const mz_desc *desc, mz_pass pass, int i)
{
    const mz_op_signature *s = &SIGNATURES[desc->kind];
    if (i < 0 || i >= s->n_args) return MZ_ARG_NONE;
    const unsigned role = pass == MZ_FORWARD ? s->arg[i].forward : s->arg[i].backward;
    if (pass == MZ_BACKWARD) return role;
    if (desc->kind == MZ_OP_MATMUL && i == 0 && desc->u.matmul.accumulate) return MZ_ARG_INOUT;
    if (desc->kind == MZ_OP_MATMUL && i == 3) return desc->u.matmul.bias ? MZ_ARG_IN : MZ_ARG_NONE;
    if (desc->kind == MZ_OP_ROUTER && i == 1 && desc->u.router.forced) return MZ_ARG_IN;
    if (desc->kind == MZ_OP_REDUCE && i == 0 && desc->u.reduce.accumulate) return MZ_ARG_INOUT;
    if (desc->kind == MZ_OP_ROWS && i == 0) return MZ_ARG_OUT | MZ_ARG_PARTIAL;
    if (desc->kind == MZ_OP_XENT && i == 1 && !desc->u.xent.gradient) return MZ_ARG_NONE;
    if (desc->kind == MZ_OP_XENT && i == 4) return desc->u.xent.gradient ? MZ_ARG_IN : MZ_ARG_NONE;
    if (desc->kind == MZ_OP_ELEMENTWISE && i > elementwise_inputs(desc->u.elementwise.fn))
        return MZ_ARG_NONE;
    return role;
}

bool mz_desc_has_backward(const mz_desc *desc)
{
    if (desc->kind == MZ_OP_MATMUL) return desc->u.matmul.backward;
    if (desc->kind == MZ_OP_EXPERTS) return desc->u.experts.backward;
    if (desc->kind == MZ_OP_RMSNORM) return desc->u.rmsnorm.backward;
    if (desc->kind == MZ_OP_ROPE) return desc->u.rope.backward;
    if (desc->kind == MZ_OP_ATTENTION) return desc->u.attention.backward;
    if (desc->kind == MZ_OP_SWIGLU) return desc->u.swiglu.backward;
    if (desc->kind == MZ_OP_EMBED) return desc->u.embed.backward;
    if (desc->kind == MZ_OP_ROUTER) return desc->u.router.backward;
    if (desc->kind == MZ_OP_PERMUTE) return desc->u.permute.backward;
    if (desc->kind == MZ_OP_UNPERMUTE) return desc->u.unpermute.backward;
    return false;
}

mz_dtype mz_desc_dtype(const mz_desc *desc)
{
    /* Every description starts with its dtype (cast: what it reads), so one union member shows it.
     */
    return desc->u.sumsq.dtype;
}

mz_dtype mz_desc_stored(const mz_desc *desc)
{
    if (desc->kind == MZ_OP_MATMUL) return desc->u.matmul.stored;
    if (desc->kind == MZ_OP_EXPERTS) return desc->u.experts.stored;
    return desc->kind == MZ_OP_EMBED ? desc->u.embed.stored : MZ_F64;
}
