/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/segment.h: x86 segmentation, from a selector and an offset to a linear address or the
 * exception that the processor raises.
 *
 *     selector  15 .. 3: index | 2: LDT | 1 0: RPL
 *         index * 8 --> descriptor in the GDT or LDT --> base + offset = linear address
 *
 * In protected mode, and what 64-bit mode keeps of it. Real and virtual-8086 mode are left out.
 *
 * Thread safety: functions hold no state. Nothing here allocates.
 *
 * Sources: Intel SDM 3A, chapters 3.4, 3.5, 5.2 to 5.8; 2A and 2B, CALL, JMP, LAR, LSL, VERR,
 * VERW, MOV.
 */
#ifndef QUIRE_SEGMENT_H
#define QUIRE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct quire_segment_descriptor {
    uint64_t raw, upper; /* upper: the second half of a system descriptor in long mode */
    uint64_t base;
    uint32_t limit; /* in bytes: the last offset, or the last that is not allowed (expand-down) */
    uint8_t type;   /* 4 bits */
    uint8_t dpl;
    bool is_code_or_data; /* S */
    bool is_present, is_available, is_long, is_32_bit, is_4k;
    /* gates: type 4, 5, 6, 7, 12, 14, 15 of the system's */
    bool is_gate;
    uint16_t gate_selector;
    uint64_t gate_offset;
};

/* Decodes 8 bytes; in long mode system descriptors have 16, `upper` the second 8. */
void quire_segment_decode(uint64_t raw, uint64_t upper, bool is_long_mode,
                          struct quire_segment_descriptor *descriptor);

/* "data, expand-down, writable", "call gate, 32 bit" and the like; a constant. */
const char *quire_segment_type_name(const struct quire_segment_descriptor *descriptor,
                                    bool is_long_mode);

struct quire_segment_machine {
    /* Copies n bytes from a linear address. 0 or a negative errno. */
    int (*read)(void *context, uint64_t linear, void *bytes, size_t n);
    void *context;
    uint64_t gdt_base, ldt_base;
    uint32_t gdt_limit, ldt_limit; /* the last byte's offset */
    bool has_ldt;
    bool is_long_mode; /* EFER.LMA */
    bool is_64_bit;    /* and CS.L: 64-bit code. Without, compatibility mode */
    bool is_57_bit;    /* CR4.LA57: addresses of 64-bit code are canonical with 57 bits, not 48 */
    uint8_t cpl;
};

enum quire_segment_use {
    QUIRE_SEGMENT_DATA, /* DS, ES: by MOV, then an access */
    QUIRE_SEGMENT_FS,   /* FS, GS: keep their base in 64-bit mode */
    QUIRE_SEGMENT_STACK,
    QUIRE_SEGMENT_CODE, /* by a far jump, then a fetch, or a read through CS */
    QUIRE_SEGMENT_CALL, /* the same by a far call. What it pushes, and the TSS's stack, are not
                         * looked at */
};

enum quire_segment_exception {
    QUIRE_SEGMENT_OK = 0,
    QUIRE_SEGMENT_NP = 11,
    QUIRE_SEGMENT_SS = 12,
    QUIRE_SEGMENT_GP = 13,
    QUIRE_SEGMENT_TASK = -1, /* none: a far jump to another task, by a TSS or a task gate */
};

enum quire_segment_access { QUIRE_SEGMENT_READ, QUIRE_SEGMENT_WRITE, QUIRE_SEGMENT_EXECUTE };

struct quire_segment_answer {
    uint64_t linear; /* if exception is OK; through a call gate: where that leads */
    int exception;   /* enum quire_segment_exception */
    uint16_t error;  /* its error code */
    int failed;      /* a negative errno: the descriptor can't be read; nothing else is set */
    bool has_descriptor;
    struct quire_segment_descriptor descriptor;
    bool is_through_gate; /* by a call gate, to this: */
    struct quire_segment_descriptor target;
    uint8_t cpl;        /* the access's: a call through a gate may lower it */
    const char *reason; /* words; "" if there is nothing to say */
};

/*
 * Loads the selector into a register of that use and accesses `size` bytes (1 or more) at `offset`.
 */
void quire_segment_translate(const struct quire_segment_machine *machine, uint16_t selector,
                             enum quire_segment_use use, uint64_t offset, uint32_t size,
                             enum quire_segment_access access, struct quire_segment_answer *answer);

/* Sets ldt_base and ldt_limit as LLDT does. Returns 0; -EINVAL: answer says which exception;
 * what read() fails with. */
int quire_segment_load_ldt(struct quire_segment_machine *machine, uint16_t selector,
                           struct quire_segment_answer *answer);

/* What LAR, LSL, VERR and VERW say of a selector. */
struct quire_segment_rights {
    bool lar_valid, lsl_valid, verr, verw; /* ZF */
    uint32_t lar, lsl; /* LAR: bits 8 to 15 and 20 to 23; the rest is undefined */
};
/* Returns 0, or what read() fails with. */
int quire_segment_rights(const struct quire_segment_machine *machine, uint16_t selector,
                         struct quire_segment_rights *rights);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
