/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a model, ONNX or TFLite: it is refused with a reason, or its graph and schedule
 * hold. */
#include <quire/model.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

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
    quire_model_close(model);
    return 0;
}
