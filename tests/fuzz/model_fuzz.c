/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a model, ONNX or TFLite: it is refused with a reason, or its graph and schedule
 * hold. */
#include <quire/weights.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Whatever its constants are, they can be measured, and all fit in what they take now. */
static void try_weights(const struct quire_model *model)
{
    const struct quire_weights_options options = {.min_weights = 1, .group = 3};
    struct quire_weights weights;
    struct quire_weights_choice choice;
    if (quire_weights_measure(model, &options, &weights) != 0)
        return;
    uint64_t n_bytes = weights.totals[QUIRE_WEIGHTS_KEEP].n_bytes;
    if (quire_weights_choose(&weights, n_bytes / 2, 0, &choice) == 0 &&
        choice.total.n_bytes > n_bytes / 2)
        abort();
    if (quire_weights_choose(&weights, n_bytes, 0, &choice) == -ENOSPC || choice.total.noise > 0)
        abort();
    quire_weights_free(&weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char message[QUIRE_MODEL_MESSAGE_BYTES];
    struct quire_model *model;
    struct quire_model_schedule schedule;
    struct quire_model_wishes wishes = {.in_place = true, .reorder = true, .reorder_states = 100};
    if (quire_model_read(data, n_bytes, NULL, NULL, &model, message) != 0) {
        if (message[0] == '\0' || model != NULL)
            abort();
        return 0;
    }
    if (quire_model_schedule(model, &wishes, &schedule) == 0) {
        if (schedule.live_peak < schedule.floor)
            abort();
        quire_model_schedule_free(&schedule);
    }
    try_weights(model);
    quire_model_close(model);
    return 0;
}
