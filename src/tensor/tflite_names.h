/* SPDX-License-Identifier: Apache-2.0 */
/* tflite_names: what the numbers in a TFLite file stand for. */
#ifndef QUIRE_TENSOR_TFLITE_NAMES_H
#define QUIRE_TENSOR_TFLITE_NAMES_H

#include <quire/model.h>

/* Of a builtin operator; NULL: newer than this list. */
const char *tflite_builtin_name(uint32_t builtin);

/* Of a tensor's type. False: newer than this list. */
bool tflite_type(uint64_t number, enum quire_model_type *type);

#endif
