/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/weights.h: what a model's weights would take in fewer bits, measured on the weights
 * themselves.
 *
 *     model --quire_weights_measure()--> each tensor: bytes and error of each scheme
 *                                            |
 *                    a wanted size --quire_weights_choose()--> a scheme for each tensor
 *
 * Each scheme really packs the numbers into bytes, and unpacks them again to see what has become of
 * them; the errors are those of the unpacked numbers. What one tensor takes:
 *
 *     f16     2 bytes a weight; rounded to the nearest, ties to even; beyond 65504 it becomes that
 *     i8      1 byte a weight, in -127..127, and a scale (f32) a channel: the largest weight / 127
 *     u8      1 byte a weight, in 0..255, and a scale (f32) and a zero point (1 byte) a channel:
 *             from its lowest weight to its highest, and 0 is exact
 *     i4      half a byte a weight, in -8..7, and a scale (f16) a group of neighbours in a channel,
 *             that one of 17 around largest / 8 whose squared error is least
 *     sparse  a bit a weight, and those that are left in full; the smallest become 0
 *
 * Entropy coding comes on top: `coded_bytes` is what zstd makes of the packed bytes, where numbers
 * of several bytes are split into planes, as of every first byte, every second, ...;
 * `entropy_bytes` is what an ideal coder takes that knows how often each symbol occurs and nothing
 * else (order 0; its table is not counted). Both are for a file: in memory it is `n_bytes`.
 *
 * Which tensors: constants of type f32, f16 or bf16 whose bytes lie in the file as they are. Those
 * of less than `min_weights` weights, and those with numbers that are not finite, are kept; those
 * with one dimension (biases, scales) can only become f16. Everything else is kept, and counts.
 *
 * `noise` is the sum of the squared errors over the sum of the squared weights, the inverse of the
 * signal-to-noise ratio: sqnr = -10 log10(noise) dB. Noises of a network's layers add up to that of
 * its output, roughly; so the choice minimises their sum (D. Lin, S. Talathi, V. Annapureddy,
 * "Fixed Point Quantization of Deep Convolutional Networks", ICML 2016). No model is run: what that
 * does to its accuracy, its own test data have to tell.
 *
 * Thread safety: functions may be called by several threads, also for one model. Memory comes from
 * malloc(): a few times the largest tensor. Nothing prints.
 */
#ifndef QUIRE_WEIGHTS_H
#define QUIRE_WEIGHTS_H

#include <quire/model.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

enum quire_weights_scheme {
    QUIRE_WEIGHTS_KEEP, /* as the model has them */
    QUIRE_WEIGHTS_F16,
    QUIRE_WEIGHTS_I8, /* symmetric */
    QUIRE_WEIGHTS_U8, /* asymmetric */
    QUIRE_WEIGHTS_I4,
    QUIRE_WEIGHTS_SPARSE,
    QUIRE_WEIGHTS_N_SCHEMES
};

/* "keep", "f16", ...; static. */
const char *quire_weights_scheme_name(enum quire_weights_scheme scheme);

struct quire_weights_options {
    uint32_t group;       /* of i4: 2 to 65536 weights share a scale; 0: 32 */
    uint32_t min_weights; /* smaller tensors are kept; 0: 256 */
    double sparsity;      /* of sparse: this part becomes 0; above 0, below 1; 0: 0.5 */
    int level;            /* of zstd, 1 to 19; 0: 3 */
};

struct quire_weights_cost {
    bool applies; /* the scheme can be used here, and takes less than to keep the tensor */
    uint64_t n_bytes, coded_bytes;
    double entropy_bytes;
    double rmse, max_error; /* root of the mean squared error; the largest */
    double noise;           /* 0: not a bit is lost */
    uint64_t n_clipped;     /* f16: weights beyond its range */
};

struct quire_weights_tensor {
    uint32_t tensor; /* of the model */
    uint64_t n_weights;
    uint32_t n_channels;
    struct quire_weights_cost costs[QUIRE_WEIGHTS_N_SCHEMES]; /* KEEP applies always */
    enum quire_weights_scheme chosen; /* by quire_weights_choose(); before: KEEP */
};

/* Of all constants of a model; a scheme that does not apply to one counts as KEEP there. */
struct quire_weights_total {
    uint64_t n_bytes, coded_bytes;
    double entropy_bytes;
    double noise;       /* the sum */
    uint32_t n_tensors; /* to which it applies */
};

struct quire_weights {
    struct quire_weights_tensor *tensors; /* all constants that have bytes */
    size_t n_tensors;
    struct quire_weights_total totals[QUIRE_WEIGHTS_N_SCHEMES];
};

/*
 * Measures all schemes. `options` may be NULL. Returns 0 and *weights, to be freed by
 * quire_weights_free(); -EINVAL: an option is out of its range; -ENOMEM. Takes about two seconds
 * for 20 million weights.
 */
int quire_weights_measure(const struct quire_model *model,
                          const struct quire_weights_options *options,
                          struct quire_weights *weights) __attribute__((warn_unused_result));

void quire_weights_free(struct quire_weights *weights);

struct quire_weights_choice {
    struct quire_weights_total total; /* of what is chosen; n_tensors: those that are not kept */
    double least_noise;               /* no choice within the size has less */
    uint64_t least_bytes;             /* no choice takes less */
    bool is_proved;                   /* total.noise is the least there is */
};

/*
 * Chooses a scheme for each tensor, those of the set `schemes` (bit 1 << scheme; 0: all; KEEP is
 * always among them), so that n_bytes of all is at most `max_bytes` and the sum of the noises is
 * least. Writes it to `chosen` of each tensor. Returns 0; -ENOSPC: least_bytes is more than that,
 * and chosen is what takes the least; -ENOMEM.
 */
int quire_weights_choose(struct quire_weights *weights, uint64_t max_bytes, uint32_t schemes,
                         struct quire_weights_choice *choice) __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
