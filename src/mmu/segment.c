/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: descriptors and the processor's checks; see quire/segment.h.
 *
 *     load: null? in the table? a type for this register? privilege? present?   (SDM 3A, 5.5 - 5.8)
 *     access: right for the type? within the limit?                             (5.3, 5.4)
 *
 *     63 .. 56 | 55 54 53 52 | 51 .. 48 | 47 | 46 45 | 44 | 43 .. 40 | 39 .. 16 | 15 .. 0
 *     base     |  G  D  L AVL|  limit   |  P |  DPL  |  S |   type   |   base   |  limit
 *
 * The checks stand in the order in which the manual's pseudo-code has them (2A, MOV; 3A, 5.8.1),
 * since the first that fails decides the exception.
 */
#include <quire/segment.h>

#include <endian.h>
#include <errno.h>
#include <string.h>

#define TABLE_IS_LDT 4
#define RPL 3

enum { /* of code and data: type bits */
       ACCESSED = 1,
       WRITABLE_OR_READABLE = 2,
       DOWN_OR_CONFORMING = 4,
       CODE = 8,
};

enum { /* of the system's (3.5) */
       SYSTEM_TSS_16 = 1,
       SYSTEM_LDT = 2,
       SYSTEM_TSS_BUSY_16 = 3,
       SYSTEM_CALL_GATE_16 = 4,
       SYSTEM_TASK_GATE = 5,
       SYSTEM_TSS_32 = 9,
       SYSTEM_TSS_BUSY_32 = 11,
       SYSTEM_CALL_GATE = 12,
};

static uint64_t bits(uint64_t word, unsigned low, unsigned n)
{
    return word >> low & (((uint64_t)1 << n) - 1);
}

void quire_segment_decode(uint64_t raw, uint64_t upper, bool is_long_mode,
                          struct quire_segment_descriptor *descriptor)
{
    uint32_t limit = (uint32_t)(bits(raw, 0, 16) | bits(raw, 48, 4) << 16);
    bool is_4k = bits(raw, 55, 1) != 0, is_user = bits(raw, 44, 1) != 0;
    uint8_t type = (uint8_t)bits(raw, 40, 4);

    *descriptor = (struct quire_segment_descriptor){
        .raw = raw,
        .upper = upper,
        .base = bits(raw, 16, 24) | bits(raw, 56, 8) << 24,
        .limit = is_4k ? limit << 12 | 0xfff : limit,
        .type = type,
        .dpl = (uint8_t)bits(raw, 45, 2),
        .is_code_or_data = is_user,
        .is_present = bits(raw, 47, 1) != 0,
        .is_available = bits(raw, 52, 1) != 0,
        .is_long = bits(raw, 53, 1) != 0,
        .is_32_bit = bits(raw, 54, 1) != 0,
        .is_4k = is_4k,
        .is_gate = !is_user && (type == 4 || type == 5 || type == 6 || type == 7 || type == 12 ||
                                type == 14 || type == 15)};
    if (is_long_mode && !is_user)
        descriptor->base |= bits(upper, 0, 32) << 32;
    if (!descriptor->is_gate)
        return;
    descriptor->gate_selector = (uint16_t)bits(raw, 16, 16);
    descriptor->gate_offset = bits(raw, 0, 16) | bits(raw, 48, 16) << 16;
    if (is_long_mode)
        descriptor->gate_offset |= bits(upper, 0, 32) << 32;
}

const char *quire_segment_type_name(const struct quire_segment_descriptor *descriptor,
                                    bool is_long_mode)
{
    static const char *const users[16] = {
        "data, read-only",
        "data, read-only, accessed",
        "data, writable",
        "data, writable, accessed",
        "data, expand-down, read-only",
        "data, expand-down, read-only, accessed",
        "data, expand-down, writable",
        "data, expand-down, writable, accessed",
        "code, execute-only",
        "code, execute-only, accessed",
        "code, readable",
        "code, readable, accessed",
        "code, conforming, execute-only",
        "code, conforming, execute-only, accessed",
        "code, conforming, readable",
        "code, conforming, readable, accessed",
    };
    static const char *const systems[16] = {
        "reserved",
        "TSS, 16 bit, available",
        "LDT",
        "TSS, 16 bit, busy",
        "call gate, 16 bit",
        "task gate",
        "interrupt gate, 16 bit",
        "trap gate, 16 bit",
        "reserved",
        "TSS, 32 bit, available",
        "reserved",
        "TSS, 32 bit, busy",
        "call gate, 32 bit",
        "reserved",
        "interrupt gate, 32 bit",
        "trap gate, 32 bit",
    };
    static const char *const long_systems[16] = {
        "reserved",
        "reserved",
        "LDT, 64 bit",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "TSS, 64 bit, available",
        "reserved",
        "TSS, 64 bit, busy",
        "call gate, 64 bit",
        "reserved",
        "interrupt gate, 64 bit",
        "trap gate, 64 bit",
    };
    if (descriptor->is_code_or_data)
        return users[descriptor->type];
    return is_long_mode ? long_systems[descriptor->type] : systems[descriptor->type];
}

/* Whether a selector is null: index 0 of the GDT, whatever the RPL (3.4.2). */
static bool is_null(uint16_t selector)
{
    return (selector & ~RPL) == 0;
}

/* 0; -ENOENT: it is not in its table; what read() fails with. */
static int fetch(const struct quire_segment_machine *machine, uint16_t selector,
                 struct quire_segment_descriptor *descriptor)
{
    bool is_ldt = (selector & TABLE_IS_LDT) != 0;
    uint32_t at = selector & ~7u, limit = is_ldt ? machine->ldt_limit : machine->gdt_limit;
    uint64_t base = is_ldt ? machine->ldt_base : machine->gdt_base, words[2] = {0, 0};

    if ((is_ldt && !machine->has_ldt) || at + 7 > limit)
        return -ENOENT;
    int error = machine->read(machine->context, base + at, words, 8);
    if (error != 0)
        return error;
    /* 16 bytes of system descriptors in long mode; the upper half has to be there, too */
    bool is_system = bits(le64toh(words[0]), 44, 1) == 0;
    if (machine->is_long_mode && is_system) {
        if (at + 15 > limit)
            return -ENOENT;
        error = machine->read(machine->context, base + at + 8, &words[1], 8);
    }
    quire_segment_decode(le64toh(words[0]), le64toh(words[1]), machine->is_long_mode, descriptor);
    return error;
}

static bool raise(struct quire_segment_answer *answer, int exception, unsigned error,
                  const char *reason)
{
    answer->exception = exception;
    answer->error = (uint16_t)error;
    answer->reason = reason;
    return false;
}

/* 5.6: for data; 5.7: for the stack. */
static bool load_data(const struct quire_segment_machine *machine, uint16_t selector,
                      enum quire_segment_use use, struct quire_segment_answer *answer)
{
    const struct quire_segment_descriptor *its = &answer->descriptor;
    unsigned error = selector & ~(unsigned)RPL, rpl = selector & RPL;
    bool is_code = its->is_code_or_data && (its->type & CODE) != 0;
    bool is_conforming = is_code && (its->type & DOWN_OR_CONFORMING) != 0;

    if (use == QUIRE_SEGMENT_STACK) {
        if (rpl != machine->cpl)
            return raise(answer, QUIRE_SEGMENT_GP, error, "the RPL is not the CPL");
        if (!its->is_code_or_data || is_code || (its->type & WRITABLE_OR_READABLE) == 0)
            return raise(answer, QUIRE_SEGMENT_GP, error, "a stack has to be writable data");
        if (its->dpl != machine->cpl)
            return raise(answer, QUIRE_SEGMENT_GP, error, "the DPL is not the CPL");
        if (!its->is_present)
            return raise(answer, QUIRE_SEGMENT_SS, error, "the segment is not present");
        return true;
    }
    if (!its->is_code_or_data || (is_code && (its->type & WRITABLE_OR_READABLE) == 0))
        return raise(answer, QUIRE_SEGMENT_GP, error, "it is neither data nor readable code");
    if (!is_conforming && (rpl > its->dpl || machine->cpl > its->dpl))
        return raise(answer, QUIRE_SEGMENT_GP, error, "the DPL is below the CPL or the RPL");
    if (!its->is_present)
        return raise(answer, QUIRE_SEGMENT_NP, error, "the segment is not present");
    return true;
}

/*
 * 5.8.1.1, 5.8.1.2: code of `selector` by a far jump or call. A gate's RPL does not count; and a
 * call through one may lead to more privileged code (5.8.4).
 */
static bool check_code(const struct quire_segment_machine *machine, uint16_t selector, unsigned rpl,
                       bool may_lower_cpl, const struct quire_segment_descriptor *its,
                       struct quire_segment_answer *answer)
{
    unsigned error = selector & ~(unsigned)RPL;

    if (!its->is_code_or_data || (its->type & CODE) == 0)
        return raise(answer, QUIRE_SEGMENT_GP, error, "it is no code");
    if (machine->is_long_mode && its->is_long && its->is_32_bit)
        return raise(answer, QUIRE_SEGMENT_GP, error, "L and D are both set");
    if ((its->type & DOWN_OR_CONFORMING) != 0) {
        if (its->dpl > machine->cpl)
            return raise(answer, QUIRE_SEGMENT_GP, error,
                         "conforming code with a DPL above the CPL");
    } else if (may_lower_cpl && its->dpl > machine->cpl) {
        return raise(answer, QUIRE_SEGMENT_GP, error, "the DPL is above the CPL");
    } else if (!may_lower_cpl && (rpl > machine->cpl || its->dpl != machine->cpl)) {
        return raise(answer, QUIRE_SEGMENT_GP, error,
                     "the DPL is not the CPL, or the RPL is above");
    } else {
        answer->cpl = its->dpl;
    }
    if (!its->is_present)
        return raise(answer, QUIRE_SEGMENT_NP, error, "the segment is not present");
    return true;
}

/* 5.8.3 to 5.8.5: through a call gate it goes where the gate says; the offset is not used. */
static bool pass_gate(const struct quire_segment_machine *machine, uint16_t selector, bool is_call,
                      struct quire_segment_answer *answer)
{
    const struct quire_segment_descriptor *gate = &answer->descriptor;
    unsigned error = selector & ~(unsigned)RPL, rpl = selector & RPL;
    uint16_t target = gate->gate_selector;

    if (gate->dpl < machine->cpl || gate->dpl < rpl)
        return raise(answer, QUIRE_SEGMENT_GP, error, "the gate's DPL is below the CPL or the RPL");
    if (!gate->is_present)
        return raise(answer, QUIRE_SEGMENT_NP, error, "the gate is not present");
    if (is_null(target))
        return raise(answer, QUIRE_SEGMENT_GP, 0, "the gate's selector is null");
    int failed = fetch(machine, target, &answer->target);
    if (failed == -ENOENT)
        return raise(answer, QUIRE_SEGMENT_GP, target & ~(unsigned)RPL,
                     "the gate's selector is beyond its table");
    answer->failed = failed;
    if (failed != 0)
        return false;
    answer->is_through_gate = true;
    if (machine->is_long_mode && answer->target.is_code_or_data && !answer->target.is_long)
        return raise(answer, QUIRE_SEGMENT_GP, target & ~(unsigned)RPL,
                     "the gate leads to code that is not 64-bit");
    return check_code(machine, target, 0, is_call, &answer->target, answer);
}

/* 8.3: a far jump to a TSS or a task gate; what the new task does is no address. */
static bool switch_task(const struct quire_segment_machine *machine, uint16_t selector,
                        struct quire_segment_answer *answer)
{
    const struct quire_segment_descriptor *its = &answer->descriptor;
    unsigned error = selector & ~(unsigned)RPL, rpl = selector & RPL;

    if (its->dpl < machine->cpl || its->dpl < rpl)
        return raise(answer, QUIRE_SEGMENT_GP, error, "the DPL is below the CPL or the RPL");
    if (its->type == SYSTEM_TSS_BUSY_16 || its->type == SYSTEM_TSS_BUSY_32)
        return raise(answer, QUIRE_SEGMENT_GP, error, "the task is busy");
    if (!its->is_present)
        return raise(answer, QUIRE_SEGMENT_NP, error, "the task is not present");
    return raise(answer, QUIRE_SEGMENT_TASK, 0, "it switches to another task");
}

static bool load_code(const struct quire_segment_machine *machine, uint16_t selector, bool is_call,
                      struct quire_segment_answer *answer)
{
    const struct quire_segment_descriptor *its = &answer->descriptor;
    bool is_long = machine->is_long_mode;

    if (!its->is_code_or_data) {
        switch (its->type) {
        case SYSTEM_CALL_GATE_16:
            if (!is_long)
                return pass_gate(machine, selector, is_call, answer);
            break;
        case SYSTEM_CALL_GATE:
            /* the upper half's type has to be 0 (5.8.3.1) */
            if (!is_long || bits(its->upper, 40, 5) == 0)
                return pass_gate(machine, selector, is_call, answer);
            break;
        case SYSTEM_TSS_16:
        case SYSTEM_TSS_BUSY_16:
        case SYSTEM_TASK_GATE:
        case SYSTEM_TSS_32:
        case SYSTEM_TSS_BUSY_32:
            if (!is_long)
                return switch_task(machine, selector, answer);
            break;
        default:
            break;
        }
    }
    return check_code(machine, selector, selector & RPL, false, its, answer);
}

static bool is_of_code(enum quire_segment_use use)
{
    return use == QUIRE_SEGMENT_CODE || use == QUIRE_SEGMENT_CALL;
}

static bool load(const struct quire_segment_machine *machine, uint16_t selector,
                 enum quire_segment_use use, struct quire_segment_answer *answer)
{
    if (is_null(selector)) {
        /* 64-bit code below ring 3 may have a null stack segment (2A, MOV) */
        bool may_load = use == QUIRE_SEGMENT_DATA || use == QUIRE_SEGMENT_FS ||
                        (use == QUIRE_SEGMENT_STACK && machine->is_64_bit && machine->cpl < 3 &&
                         (selector & RPL) == machine->cpl);
        if (may_load)
            return true;
        return raise(answer, QUIRE_SEGMENT_GP, 0, "the selector is null");
    }
    int error = fetch(machine, selector, &answer->descriptor);
    if (error == -ENOENT)
        return raise(answer, QUIRE_SEGMENT_GP, selector & ~(unsigned)RPL,
                     "the selector is beyond its table");
    answer->failed = error;
    if (error != 0)
        return false;
    answer->has_descriptor = true;
    return is_of_code(use) ? load_code(machine, selector, use == QUIRE_SEGMENT_CALL, answer)
                           : load_data(machine, selector, use, answer);
}

/* 5.3: every byte has to be within the limit; below an expand-down segment's lower end is not. */
static bool is_within(const struct quire_segment_descriptor *its, uint64_t offset, uint32_t size)
{
    uint64_t last = offset + (size - 1);
    bool is_down = (its->type & CODE) == 0 && (its->type & DOWN_OR_CONFORMING) != 0;

    if (last < offset)
        return false;
    if (!is_down)
        return last <= its->limit;
    return offset > its->limit && last <= (its->is_32_bit ? 0xffffffffu : 0xffffu);
}

static bool is_canonical(uint64_t address, unsigned bits)
{
    return (uint64_t)((int64_t)(address << (64 - bits)) >> (64 - bits)) == address;
}

/* 3.4.4, 5.3.1: bases are 0 but for FS and GS; no limits, no types; addresses are canonical. */
static void access_64_bit(unsigned bits_of_address, enum quire_segment_use use, uint64_t offset,
                          uint32_t size, struct quire_segment_answer *answer)
{
    uint64_t linear = offset;

    if (use == QUIRE_SEGMENT_FS && answer->has_descriptor)
        linear += answer->descriptor.base;
    if (!is_canonical(linear, bits_of_address) || !is_canonical(linear + size - 1, bits_of_address))
        raise(answer, use == QUIRE_SEGMENT_STACK ? QUIRE_SEGMENT_SS : QUIRE_SEGMENT_GP, 0,
              "the address is not canonical");
    else
        answer->linear = linear;
}

void quire_segment_translate(const struct quire_segment_machine *machine, uint16_t selector,
                             enum quire_segment_use use, uint64_t offset, uint32_t size,
                             enum quire_segment_access access, struct quire_segment_answer *answer)
{
    *answer = (struct quire_segment_answer){.reason = "", .cpl = machine->cpl};
    if (!load(machine, selector, use, answer))
        return;
    const struct quire_segment_descriptor *its = &answer->descriptor;
    if (answer->is_through_gate) {
        offset = its->type == SYSTEM_CALL_GATE_16 ? its->gate_offset & 0xffff : its->gate_offset;
        its = &answer->target;
    }
    bool is_64_bit = is_of_code(use) ? machine->is_long_mode && its->is_long : machine->is_64_bit;
    if (is_64_bit) {
        access_64_bit(machine->is_57_bit ? 57 : 48, use, offset, size, answer);
        return;
    }
    int exception = use == QUIRE_SEGMENT_STACK ? QUIRE_SEGMENT_SS : QUIRE_SEGMENT_GP;
    bool is_code = (its->type & CODE) != 0;
    if (!answer->has_descriptor) {
        raise(answer, QUIRE_SEGMENT_GP, 0, "an access through a null selector");
    } else if (access == QUIRE_SEGMENT_WRITE &&
               (is_code || (its->type & WRITABLE_OR_READABLE) == 0)) {
        raise(answer, QUIRE_SEGMENT_GP, 0, "the segment is not writable");
    } else if (access == QUIRE_SEGMENT_READ && is_code && (its->type & WRITABLE_OR_READABLE) == 0) {
        raise(answer, QUIRE_SEGMENT_GP, 0, "the code is execute-only");
    } else if (access == QUIRE_SEGMENT_EXECUTE && !is_code) {
        raise(answer, QUIRE_SEGMENT_GP, 0, "data is not executed");
    } else if (offset > UINT32_MAX || !is_within(its, offset, size)) {
        raise(answer, exception, 0, "beyond the limit");
    } else {
        answer->linear = (its->base + offset) & UINT32_MAX;
    }
}

int quire_segment_load_ldt(struct quire_segment_machine *machine, uint16_t selector,
                           struct quire_segment_answer *answer)
{
    unsigned error_code = selector & ~(unsigned)RPL;

    *answer = (struct quire_segment_answer){.reason = ""};
    machine->has_ldt = false;
    if (is_null(selector)) /* then every selector of it is beyond it */
        return 0;
    if ((selector & TABLE_IS_LDT) != 0) {
        raise(answer, QUIRE_SEGMENT_GP, error_code, "the LDT's descriptor has to be in the GDT");
        return -EINVAL;
    }
    int error = fetch(machine, selector, &answer->descriptor);
    if (error != 0 && error != -ENOENT) {
        answer->failed = error;
        return error;
    }
    answer->has_descriptor = error == 0;
    if (error == -ENOENT)
        raise(answer, QUIRE_SEGMENT_GP, error_code, "the selector is beyond its table");
    else if (answer->descriptor.is_code_or_data || answer->descriptor.type != SYSTEM_LDT)
        raise(answer, QUIRE_SEGMENT_GP, error_code, "it is no LDT");
    else if (!answer->descriptor.is_present)
        raise(answer, QUIRE_SEGMENT_NP, error_code, "the LDT is not present");
    if (answer->exception != QUIRE_SEGMENT_OK)
        return -EINVAL;
    machine->has_ldt = true;
    machine->ldt_base = answer->descriptor.base;
    machine->ldt_limit = answer->descriptor.limit;
    return 0;
}

int quire_segment_rights(const struct quire_segment_machine *machine, uint16_t selector,
                         struct quire_segment_rights *rights)
{
    /* system types that LAR and LSL take (2A, tables 3-54 and 3-56) */
    const uint16_t lar_types = machine->is_long_mode ? 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12
                                                     : 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 |
                                                           1 << 9 | 1 << 11 | 1 << 12;
    const uint16_t lsl_types = machine->is_long_mode ? 1 << 2 | 1 << 9 | 1 << 11
                                                     : 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;
    struct quire_segment_descriptor its;
    unsigned rpl = selector & RPL;

    *rights = (struct quire_segment_rights){0};
    if (is_null(selector))
        return 0;
    int error = fetch(machine, selector, &its);
    if (error != 0)
        return error == -ENOENT ? 0 : error;
    bool is_code = its.is_code_or_data && (its.type & CODE) != 0;
    bool is_conforming = is_code && (its.type & DOWN_OR_CONFORMING) != 0;
    bool is_allowed = is_conforming || (machine->cpl <= its.dpl && rpl <= its.dpl);
    bool is_readable = is_code ? (its.type & WRITABLE_OR_READABLE) != 0 : its.is_code_or_data;
    rights->lar_valid = is_allowed && (its.is_code_or_data || (lar_types >> its.type & 1) != 0);
    rights->lsl_valid = is_allowed && (its.is_code_or_data || (lsl_types >> its.type & 1) != 0);
    rights->verr = is_allowed && is_readable;
    rights->verw = is_allowed && its.is_code_or_data && !is_code &&
                   (its.type & WRITABLE_OR_READABLE) != 0;
    if (rights->lar_valid)
        rights->lar = (uint32_t)(its.raw >> 32) & 0x00f0ff00;
    if (rights->lsl_valid)
        rights->lsl = its.limit;
    return 0;
}
