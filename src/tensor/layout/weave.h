/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weave: the kernel for struct layout_weave. The file that includes it says how, for 16 bytes:
 *
 *     W                    a vector
 *     W weave_load(from)
 *     void weave_store(char *, W)
 *     W pick(W v, W mask)  byte b is byte mask[b] of v; 0 where mask[b] is 16 or more, 0x80 say
 *     W either(W, W)       or, bit by bit
 */

/* The compiler knows n: the masks stay in registers. */
IN void weave_n(const struct layout_weave *weave, size_t n_groups, unsigned n)
{
    const char *in[LAYOUT_MAX_WOVEN];
    char *out[LAYOUT_MAX_WOVEN];
    W masks[LAYOUT_MAX_WOVEN][LAYOUT_MAX_WOVEN];

    for (unsigned k = 0; k < n; k++) {
        in[k] = weave->in[k];
        out[k] = weave->out[k];
        for (unsigned j = 0; j < n; j++)
            masks[k][j] = weave_load(weave->masks[k][j]);
    }
    for (int64_t at = 0; at < (int64_t)n_groups; at++) {
        W v[LAYOUT_MAX_WOVEN];
        for (unsigned j = 0; j < n; j++)
            v[j] = weave_load(in[j] + at * weave->in_step);
        for (unsigned k = 0; k < n; k++) {
            W picked = pick(v[0], masks[k][0]);
            for (unsigned j = 1; j < n; j++)
                picked = either(picked, pick(v[j], masks[k][j]));
            weave_store(out[k] + at * weave->out_step, picked);
        }
    }
}

TARGET static void weave(const struct layout_weave *its, size_t n_groups)
{
    const struct layout_weave copy = *its; /* that no store can change */

    if (copy.n == 2)
        weave_n(&copy, n_groups, 2);
    else if (copy.n == 3)
        weave_n(&copy, n_groups, 3);
    else
        weave_n(&copy, n_groups, 4);
}
