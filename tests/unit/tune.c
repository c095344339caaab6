/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of <quire/tune.h>, each on a recorded machine at two times, ten seconds apart: a case
 * in which it speaks, and one in which it does not though nearly all is the same.
 *
 *   a recorded machine ── before/   edits of both
 *                     '── after/    edits of both, and what was counted in between
 *
 * A rule without both kinds of cases fails the test.
 */
#include <quire/tune.h>

#include "root.h"

#include <errno.h>
#include <math.h>

#define BASE "6.1-zram-cgroup2"
#define MAX_RULES 64

enum edit_kind {
    NONE,
    ADD,       /* KEY of /proc/vmstat counts so much in between */
    LEVEL,     /* KEY of /proc/vmstat is so much, in both */
    MEM,       /* KEY of /proc/meminfo is so many kB, in both */
    PAGES,     /* the same of a line without kB */
    PUT,       /* the file holds TEXT in both; NULL: it is not there */
    PUT_AFTER, /* at the second time */
    COPY,      /* the file of another recorded machine, in both */
};

struct edit {
    enum edit_kind kind;
    const char *what;
    long value;
    const char *text;
};

/* The files that the rules look at. */
static const char *const files[] = {"proc/meminfo",
                                    "proc/vmstat",
                                    "proc/stat",
                                    "proc/uptime",
                                    "proc/swaps",
                                    "proc/zoneinfo",
                                    "proc/buddyinfo",
                                    "proc/pagetypeinfo",
                                    "proc/pressure/cpu",
                                    "proc/pressure/io",
                                    "proc/pressure/memory",
                                    "proc/self/cgroup",
                                    "proc/self/mountinfo",
                                    "proc/268/stat",
                                    "proc/268/status",
                                    "proc/268/oom_score",
                                    "proc/268/oom_score_adj",
                                    "proc/268/cmdline",
                                    "proc/sys/vm/swappiness",
                                    "proc/sys/vm/min_free_kbytes",
                                    "proc/sys/vm/watermark_scale_factor",
                                    "proc/sys/vm/overcommit_memory",
                                    "proc/sys/vm/overcommit_ratio",
                                    "proc/sys/vm/overcommit_kbytes",
                                    "proc/sys/vm/dirty_ratio",
                                    "proc/sys/vm/dirty_background_ratio",
                                    "proc/sys/vm/dirty_bytes",
                                    "proc/sys/vm/dirty_background_bytes",
                                    "proc/sys/vm/vfs_cache_pressure",
                                    "proc/sys/vm/page-cluster",
                                    "proc/sys/vm/zone_reclaim_mode",
                                    "sys/kernel/mm/transparent_hugepage/enabled",
                                    "sys/kernel/mm/transparent_hugepage/defrag",
                                    "sys/fs/cgroup/job/memory.current",
                                    "sys/fs/cgroup/job/memory.events",
                                    "sys/fs/cgroup/job/memory.max",
                                    "sys/fs/cgroup/job/memory.high",
                                    "sys/block/zram0/disksize",
                                    "sys/block/zram0/mm_stat"};
#define N_FILES (sizeof files / sizeof files[0])

#define SWAPS "Filename Type Size Used Priority\n"
#define ON_DISK                                                         \
    {                                                                   \
        PUT, "proc/swaps", 0, SWAPS "/dev/sda2 partition 262140 0 -2\n" \
    }
#define NO_SWAP                     \
    {                               \
        PUT, "proc/swaps", 0, SWAPS \
    }
#define VM(name, text)                         \
    {                                          \
        PUT, "proc/sys/vm/" name, 0, text "\n" \
    }
#define ZSWAP(text)                                              \
    {                                                            \
        PUT, "sys/module/zswap/parameters/enabled", 0, text "\n" \
    }
#define HUGE(name, text)                                              \
    {                                                                 \
        PUT, "sys/kernel/mm/transparent_hugepage/" name, 0, text "\n" \
    }
#define GROUP(name, text)                                    \
    {                                                        \
        PUT_AFTER, "sys/fs/cgroup/job/memory." name, 0, text \
    }
#define REFAULTS                                   \
    {                                              \
        ADD, "workingset_refault_file", 5000, NULL \
    }
#define LITTLE_LEFT                      \
    {                                    \
        MEM, "MemAvailable", 60000, NULL \
    }
#define STALLS                              \
    {                                       \
        ADD, "allocstall_normal", 100, NULL \
    }
#define COMPACTION                      \
    {                                   \
        ADD, "compact_stall", 100, NULL \
    }
/* Field 12 are its major faults. */
#define STAT(major)                                                                               \
    "268 (sh) S 1 268 268 0 -1 4194304 100 0 " major " 0 10 10 0 0 20 0 1 0 5000 90000000 21000 " \
    "18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 0 0 0 7 0 0\n"
#define FAULTS_OF_ITS_OWN                           \
    {PUT, "proc/268/stat", 0, STAT("10")},          \
    {                                               \
        PUT_AFTER, "proc/268/stat", 0, STAT("3010") \
    }
#define SWAPPED(kib)                                                                    \
    {                                                                                   \
        PUT, "proc/268/status", 0, "Name:\tsh\nUid:\t0\t0\t0\t0\nVmSwap:\t" kib " kB\n" \
    }
#define MAX_EDITS 8

static const struct {
    const char *rule;
    bool speaks;
    struct edit edits[MAX_EDITS];
} cases[] = {
    {"major-faults", true, {{ADD, "pgmajfault", 2000, NULL}, FAULTS_OF_ITS_OWN}},
    {"major-faults", false, {{ADD, "pgmajfault", 500, NULL}}},
    {"quire-run", true, {FAULTS_OF_ITS_OWN, SWAPPED("200000")}},
    {"quire-run", false, {FAULTS_OF_ITS_OWN, SWAPPED("1000")}},
    {"oom-kills", true, {{ADD, "oom_kill", 1, NULL}}},
    {"oom-kills", false, {{LEVEL, "oom_kill", 1, NULL}}},
    {"cache-thrash", true, {REFAULTS, LITTLE_LEFT, {ADD, "pgpgin", 20000, NULL}}},
    {"cache-thrash", false, {REFAULTS, LITTLE_LEFT, {ADD, "pgpgin", 400000, NULL}}},
    {"cache-thrash", false, {REFAULTS, {ADD, "pgpgin", 20000, NULL}}}, /* of a limited group */
    {"multigen-off", true, {REFAULTS, {PUT, "sys/kernel/mm/lru_gen/enabled", 0, "0x0000\n"}}},
    {"multigen-off", false, {REFAULTS, {PUT, "sys/kernel/mm/lru_gen/enabled", 0, "0x0007\n"}}},
    {"swappiness-low",
     true,
     {REFAULTS, LITTLE_LEFT, VM("swappiness", "10"), {MEM, "Inactive(anon)", 90000, 0}}},
    {"swappiness-low",
     false,
     {REFAULTS, LITTLE_LEFT, VM("swappiness", "60"), {MEM, "Inactive(anon)", 90000, 0}}},
    {"swappiness-high",
     true,
     {ON_DISK,
      {ADD, "pswpin", 2000, NULL},
      {ADD, "workingset_refault_anon", 2000, NULL},
      {MEM, "Active(file)", 90000, NULL}}},
    {"swappiness-high",
     false,
     {ON_DISK,
      {ADD, "pswpin", 2000, NULL},
      {ADD, "workingset_refault_anon", 2000, NULL},
      {ADD, "workingset_refault_file", 1000, NULL},
      {MEM, "Active(file)", 90000, NULL}}},
    {"swappiness-high", /* zram */
     false,
     {{ADD, "pswpin", 2000, NULL},
      {ADD, "workingset_refault_anon", 2000, NULL},
      {MEM, "Active(file)", 90000, NULL}}},
    {"swappiness-in-memory", true, {{ADD, "pgsteal_anon", 2000, NULL}}},
    {"swappiness-in-memory", true, {ON_DISK, ZSWAP("Y"), {ADD, "pgsteal_file", 2000, NULL}}},
    {"swappiness-in-memory", false, {{ADD, "pgsteal_anon", 2000, NULL}, VM("swappiness", "133")}},
    {"swappiness-in-memory", false, {ON_DISK, {ADD, "pgsteal_anon", 2000, NULL}}},
    {"no-swap", true, {NO_SWAP, REFAULTS, LITTLE_LEFT}},
    {"no-swap", false, {NO_SWAP, REFAULTS}},
    {"no-swap", true, {NO_SWAP, {MEM, "MemAvailable", 9000, NULL}}},
    {"no-swap", false, {NO_SWAP}},
    {"no-swap", false, {REFAULTS}},
    {"swap-full", true, {{MEM, "SwapFree", 10000, NULL}}},
    {"swap-full", false, {{MEM, "SwapFree", 50000, NULL}}},
    {"zswap-off", true, {ON_DISK, ZSWAP("N"), {ADD, "pswpout", 2000, NULL}}},
    {"zswap-off", false, {ON_DISK, ZSWAP("Y"), {ADD, "pswpout", 2000, NULL}}},
    {"zswap-off", false, {ON_DISK, ZSWAP("N")}},
    {"zswap-over-zram", true, {ZSWAP("Y"), {ADD, "pswpout", 20, NULL}}},
    {"zswap-over-zram", false, {ZSWAP("N"), {ADD, "pswpout", 20, NULL}}},
    {"zram-ratio",
     true,
     {{PUT, "sys/block/zram0/mm_stat", 0,
       "268435456 230000000 240000000 0 240000000 0 0 900 0\n"}}},
    {"zram-ratio",
     false,
     {{PUT, "sys/block/zram0/mm_stat", 0, "268435456 60000000 70000000 0 70000000 0 0 900 0\n"}}},
    {"page-cluster", true, {{ADD, "pswpin", 2000, NULL}}},
    {"page-cluster", false, {{ADD, "pswpin", 2000, NULL}, VM("page-cluster", "0")}},
    {"page-cluster", false, {{ADD, "pswpin", 2000, NULL}, ON_DISK}},
    {"min-free-low", true, {STALLS, VM("min_free_kbytes", "512")}},
    {"min-free-low", false, {STALLS}},
    {"min-free-low", false, {VM("min_free_kbytes", "512")}},
    {"min-free-high", true, {VM("min_free_kbytes", "40000")}},
    {"min-free-high", false, {VM("min_free_kbytes", "20000")}},
    {"watermark-scale", true, {STALLS}},
    {"watermark-scale",
     true,
     {{ADD, "kswapd_low_wmark_hit_quickly", 20, NULL}, {ADD, "pgscan_kswapd", 5000, NULL}}},
    {"watermark-scale", false, {STALLS, VM("watermark_scale_factor", "500")}},
    {"watermark-scale", false, {{ADD, "allocstall_normal", 5, NULL}}},
    {"node-reclaim", true, {{ADD, "zone_reclaim_success", 100, 0}, VM("zone_reclaim_mode", "1")}},
    {"node-reclaim", false, {VM("zone_reclaim_mode", "1")}},
    {"numa-uneven",
     true,
     {{COPY, "proc/zoneinfo", 0, "4.15-numa"},
      {COPY, "proc/buddyinfo", 0, "4.15-numa"},
      {COPY, "proc/pagetypeinfo", 0, "4.15-numa"},
      {ADD, "numa_hit", 20000, NULL},
      {ADD, "numa_miss", 4000, NULL}}},
    {"numa-uneven", false, {{ADD, "numa_hit", 20000, NULL}, {ADD, "numa_miss", 4000, NULL}}},
    {"vfs-cache", true, {VM("vfs_cache_pressure", "0")}},
    {"vfs-cache", false, {VM("vfs_cache_pressure", "1")}},
    {"slab-large", true, {{MEM, "SUnreclaim", 90000, NULL}}},
    {"slab-large", false, {{MEM, "SUnreclaim", 60000, NULL}}},
    {"dirty-large", true, {{MEM, "Dirty", 300000, NULL}, {ADD, "pgpgout", 10000, NULL}}},
    {"dirty-large", false, {{MEM, "Dirty", 300000, NULL}, {ADD, "pgpgout", 400000, NULL}}},
    {"dirty-small",
     true,
     {{LEVEL, "nr_dirty_threshold", 1000, NULL},
      {LEVEL, "nr_dirty_background_threshold", 500, NULL},
      {MEM, "Dirty", 3500, NULL},
      {ADD, "pgpgout", 100000, NULL}}},
    {"dirty-small",
     false,
     {{LEVEL, "nr_dirty_threshold", 1000, NULL},
      {LEVEL, "nr_dirty_background_threshold", 500, NULL},
      {MEM, "Dirty", 500, NULL},
      {ADD, "pgpgout", 100000, NULL}}},
    {"dirty-background", true, {VM("dirty_ratio", "20"), VM("dirty_background_ratio", "30")}},
    {"dirty-background", true, {VM("dirty_bytes", "9000"), VM("dirty_background_bytes", "9000")}},
    {"dirty-background", false, {VM("dirty_ratio", "20"), VM("dirty_background_ratio", "19")}},
    {"huge-stalls",
     true,
     {COMPACTION, HUGE("enabled", "always [madvise] never"),
      HUGE("defrag", "[always] defer defer+madvise madvise never")}},
    {"huge-stalls",
     false,
     {COMPACTION, HUGE("enabled", "always [madvise] never"),
      HUGE("defrag", "always defer defer+madvise [madvise] never")}},
    {"huge-fallbacks",
     true,
     {{ADD, "thp_fault_alloc", 100, NULL},
      {ADD, "thp_fault_fallback", 500, NULL},
      VM("compaction_proactiveness", "20")}},
    {"huge-fallbacks",
     false,
     {{ADD, "thp_fault_alloc", 500, NULL},
      {ADD, "thp_fault_fallback", 100, NULL},
      VM("compaction_proactiveness", "20")}},
    {"huge-off", true, {{ADD, "pgfault", 500000, NULL}, {MEM, "AnonPages", 2000000, NULL}}},
    {"huge-off",
     false,
     {{ADD, "pgfault", 500000, NULL},
      {MEM, "AnonPages", 2000000, NULL},
      HUGE("enabled", "always [madvise] never")}},
    {"huge-bloat",
     true,
     {HUGE("enabled", "[always] madvise never"),
      HUGE("khugepaged/max_ptes_none", "511"),
      {MEM, "AnonHugePages", 40000, NULL},
      {MEM, "AnonPages", 80000, NULL},
      {ADD, "pswpout", 2000, NULL}}},
    {"huge-bloat",
     false,
     {HUGE("enabled", "[always] madvise never"),
      HUGE("khugepaged/max_ptes_none", "64"),
      {MEM, "AnonHugePages", 40000, NULL},
      {MEM, "AnonPages", 80000, NULL},
      {ADD, "pswpout", 2000, NULL}}},
    {"compaction", true, {COMPACTION, VM("compaction_proactiveness", "20")}},
    {"compaction", false, {COMPACTION, VM("compaction_proactiveness", "50")}},
    {"hugetlb-idle",
     true,
     {{PAGES, "HugePages_Total", 50, NULL}, {PAGES, "HugePages_Free", 50, NULL}}},
    {"hugetlb-idle",
     false,
     {{PAGES, "HugePages_Total", 50, NULL}, {PAGES, "HugePages_Free", 20, NULL}}},
    {"limit-throttles", true, {GROUP("events", "high 5\nmax 0\noom_kill 0\n")}},
    {"limit-throttles", false, {GROUP("events", "high 0\nmax 7\noom_kill 1\n")}},
    {"limit-reached", true, {GROUP("events", "high 0\nmax 7\noom_kill 1\n")}},
    {"limit-reached", /* version 1 */
     true,
     {{COPY, "proc/self/cgroup", 0, "6.18-cgroup1"},
      {COPY, "proc/self/mountinfo", 0, "6.18-cgroup1"},
      {COPY, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", 0, "6.18-cgroup1"},
      {COPY, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", 0, "6.18-cgroup1"},
      {COPY, "sys/fs/cgroup/memory/job/memory.failcnt", 0, "6.18-cgroup1"},
      {PUT_AFTER, "sys/fs/cgroup/memory/job/memory.failcnt", 0, "999999999\n"}}},
    {"limit-reached", false, {GROUP("events", "high 5\nmax 0\noom_kill 0\n")}},
    {"overcommit-strict",
     true,
     {VM("overcommit_memory", "2"),
      {MEM, "CommitLimit", 500000, 0},
      {MEM, "Committed_AS", 480000, 0}}},
    {"overcommit-strict",
     false,
     {VM("overcommit_memory", "0"),
      {MEM, "CommitLimit", 500000, 0},
      {MEM, "Committed_AS", 480000, 0}}},
    {"overcommit-always", true, {VM("overcommit_memory", "1"), {ADD, "oom_kill", 2, NULL}}},
    {"overcommit-always", false, {VM("overcommit_memory", "0"), {ADD, "oom_kill", 2, NULL}}},
    {"blind", true, {{PUT, "proc/pressure/memory", 0, NULL}, {PUT, "proc/pressure/io", 0, NULL}}},
    {"blind", false, {{PUT, "proc/pressure/io", 0, NULL}}},
};
#define N_CASES (sizeof cases / sizeof cases[0])

static char *load(const char *directory, const char *path)
{
    char whole[PATH_MAX], *text = calloc(1, 1 << 18);

    snprintf(whole, sizeof whole, "%s/%s", directory, path);
    FILE *file = fopen(whole, "r");
    if (file == NULL)
        fail_msg("%s: %s", whole, strerror(errno));
    assert_true(fread(text, 1, (1 << 18) - 1, file) > 0 || feof(file));
    fclose(file);
    return text;
}

static void put(const char *time, const char *path, const char *text)
{
    char whole[256];

    snprintf(whole, sizeof whole, "%s/%s", time, path);
    if (text != NULL)
        root_put(whole, text);
    else
        root_remove(whole);
}

static void put_both(const char *path, const char *text)
{
    put("before", path, text);
    put("after", path, text);
}

static void copy_from(const char *machine, const char *path)
{
    char directory[PATH_MAX];

    snprintf(directory, sizeof directory, "%s/%s", MACHINES, machine);
    char *text = load(directory, path);
    put_both(path, text);
    free(text);
}

/* Sets the value of a line, or adds the line; `add`: to what it is. */
static void set_line(const char *time, const char *path, const char *key, const char *separator,
                     long value, const char *unit, bool add)
{
    char directory[PATH_MAX], start[80];

    snprintf(directory, sizeof directory, "%s/%s", root, time);
    char *text = load(directory, path), *changed;
    size_t n_changed;
    FILE *to = open_memstream(&changed, &n_changed);
    snprintf(start, sizeof start, "\n%s%s", key, separator);
    char *at = strstr(text, start);
    if (at != NULL) {
        at += strlen(start);
        value += add ? strtol(at, NULL, 10) : 0;
        fprintf(to, "%.*s%ld%s%s", (int)(at - text), text, value, unit, strchr(at, '\n'));
    } else {
        fprintf(to, "%s%s%s%ld%s\n", text, key, separator, value, unit);
    }
    fclose(to);
    put(time, path, changed);
    free(text);
    free(changed);
}

static void apply(const struct edit *edit)
{
    switch (edit->kind) {
    case ADD:
        set_line("before", "proc/vmstat", edit->what, " ", 0, "", true);
        set_line("after", "proc/vmstat", edit->what, " ", edit->value, "", true);
        return;
    case LEVEL:
        set_line("before", "proc/vmstat", edit->what, " ", edit->value, "", false);
        set_line("after", "proc/vmstat", edit->what, " ", edit->value, "", false);
        return;
    case MEM:
    case PAGES:
        for (int i = 0; i < 2; i++)
            set_line(i == 0 ? "before" : "after", "proc/meminfo", edit->what, ":", edit->value,
                     edit->kind == MEM ? " kB" : "", false);
        return;
    case PUT:
        put_both(edit->what, edit->text);
        return;
    case PUT_AFTER:
        put("after", edit->what, edit->text);
        return;
    case COPY:
        copy_from(edit->text, edit->what);
        return;
    case NONE:
        return;
    }
}

static bool is_of_base(const char *path)
{
    for (size_t i = 0; i < N_FILES; i++)
        if (strcmp(files[i], path) == 0)
            return true;
    return false;
}

static void reset(const char *path)
{
    if (is_of_base(path))
        copy_from(BASE, path);
    else
        put_both(path, NULL);
}

static void undo(const struct edit *edit)
{
    if (edit->kind == ADD || edit->kind == LEVEL)
        reset("proc/vmstat");
    else if (edit->kind == MEM || edit->kind == PAGES)
        reset("proc/meminfo");
    else if (edit->kind != NONE)
        reset(edit->what);
}

static int set_up(void **state)
{
    if (root_set_up(state) != 0)
        return -1;
    for (size_t i = 0; i < N_FILES; i++)
        copy_from(BASE, files[i]);
    put("before", "proc/uptime", "1000.00 1000.00\n");
    put("after", "proc/uptime", "1010.00 1010.00\n");
    return 0;
}

static struct quire_tune_look *look_at(const char *time)
{
    char path[PATH_MAX + 16];
    struct quire_observe *observe;
    struct quire_tune_look *look;

    snprintf(path, sizeof path, "%s/%s", root, time);
    assert_int_equal(quire_observe_open(path, &observe), 0);
    if (quire_tune_look(observe, &look) != 0)
        fail_msg("%s: %s", time, quire_observe_message(observe));
    quire_observe_close(observe);
    return look;
}

static size_t judge(struct quire_tune_finding *findings)
{
    struct quire_tune_look *before = look_at("before"), *after = look_at("after");
    size_t n = quire_tune_judge(before, after, findings, MAX_RULES);

    quire_tune_look_free(before);
    quire_tune_look_free(after);
    return n;
}

static const struct quire_tune_finding *find(const struct quire_tune_finding *findings, size_t n,
                                             const char *rule)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(findings[i].rule, rule) == 0)
            return &findings[i];
    return NULL;
}

/* What a user gets to see is whole: said, with figures, and with something to do. */
static void check_finding(const struct quire_tune_finding *finding)
{
    const char *const texts[] = {finding->what, finding->why, finding->change, finding->now};
    const size_t room[] = {sizeof finding->what, sizeof finding->why, sizeof finding->change,
                           sizeof finding->now};

    for (size_t i = 0; i < 4; i++) {
        assert_true(i == 3 || texts[i][0] != '\0');
        assert_true(strlen(texts[i]) < room[i] - 1); /* not cut */
        assert_null(strstr(texts[i], "nan"));
        assert_null(strstr(texts[i], "18446744"));
    }
    assert_true(finding->n_figures > 0 || strcmp(finding->rule, "blind") == 0);
    for (unsigned i = 0; i < finding->n_figures; i++)
        assert_true(isfinite(finding->figures[i].value) && finding->figures[i].name[0] != '\0');
}

static void an_idle_machine_has_no_findings(void **state)
{
    struct quire_tune_finding findings[MAX_RULES];

    assert_true(quire_tune_n_rules() <= MAX_RULES);
    size_t n = judge(findings);
    if (n > 0)
        fail_msg("%s: %s", findings[0].rule, findings[0].what);
}

static void every_rule_speaks_when_it_should(void **state)
{
    static struct quire_tune_finding findings[MAX_RULES];

    for (size_t i = 0; i < N_CASES; i++) {
        for (unsigned e = 0; e < MAX_EDITS; e++)
            apply(&cases[i].edits[e]);
        size_t n = judge(findings);
        const struct quire_tune_finding *finding = find(findings, n, cases[i].rule);
        if ((finding != NULL) != cases[i].speaks)
            fail_msg("case %zu: %s %s", i, cases[i].rule, finding ? finding->what : "is silent");
        for (size_t k = 0; k < n; k++) {
            check_finding(&findings[k]);
            assert_true(k == 0 || findings[k - 1].severity >= findings[k].severity);
        }
        for (unsigned e = 0; e < MAX_EDITS; e++)
            undo(&cases[i].edits[e]);
    }
    an_idle_machine_has_no_findings(state);
}

static void every_rule_has_both_cases(void **state)
{
    for (size_t i = 0; i < quire_tune_n_rules(); i++) {
        const struct quire_tune_rule *rule = quire_tune_rule_at(i);
        bool has[2] = {false, false};
        for (size_t k = 0; k < N_CASES; k++)
            if (strcmp(cases[k].rule, rule->name) == 0)
                has[cases[k].speaks] = true;
        if (!has[false] || !has[true])
            fail_msg("%s: it wants a case in which it speaks, and one in which it does not",
                     rule->name);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(quire_tune_rule_at(k)->name, rule->name);
    }
}

/* What is advised follows from the figures. */
static void values_that_are_worked_out(void **state)
{
    const struct edit edits[] = {STALLS, {ADD, "pgsteal_direct", 20000, NULL}};
    static struct quire_tune_finding findings[MAX_RULES];

    for (size_t i = 0; i < 2; i++)
        apply(&edits[i]);
    size_t n = judge(findings);
    const struct quire_tune_finding *finding = find(findings, n, "watermark-scale");
    assert_non_null(finding);
    /* 480040 kB; 10 / 10000 of it and the 2000 pages that were taken in a second */
    assert_string_equal(finding->change, "sysctl -w vm.watermark_scale_factor=177");
    assert_string_equal(finding->now, "vm.watermark_scale_factor = 10");
    assert_int_equal(finding->severity, QUIRE_TUNE_ADVICE);
    for (size_t i = 0; i < 2; i++)
        undo(&edits[i]);
}

static void a_process_is_named(void **state)
{
    const struct edit edits[] = {
        FAULTS_OF_ITS_OWN, SWAPPED("200000"), {ADD, "pgmajfault", 3000, NULL}};
    static struct quire_tune_finding findings[MAX_RULES];

    for (size_t i = 0; i < 4; i++)
        apply(&edits[i]);
    size_t n = judge(findings);
    const struct quire_tune_finding *finding = find(findings, n, "major-faults");
    assert_non_null(finding);
    const struct quire_tune_figure *last = &finding->figures[finding->n_figures - 1];
    assert_string_equal(last->name, "major faults of sh (268)");
    assert_true(fabs(last->value - 300) < 1e-6);
    finding = find(findings, n, "quire-run");
    assert_non_null(finding);
    /* three quarters of 200000 kB and 21000 pages */
    assert_non_null(strstr(finding->change, "quire run --ram 209M -- "));
    for (size_t i = 0; i < 4; i++)
        undo(&edits[i]);
}

static void fewer_findings_than_there_are(void **state)
{
    const struct edit edits[] = {VM("vfs_cache_pressure", "0"), VM("min_free_kbytes", "40000")};
    struct quire_tune_finding finding;
    struct quire_tune_look *look;

    for (size_t i = 0; i < 2; i++)
        apply(&edits[i]);
    look = look_at("after");
    assert_int_equal(quire_tune_judge(look, look, &finding, 1), 1);
    assert_int_equal(quire_tune_judge(NULL, look, &finding, 0), 0);
    quire_tune_look_free(look);
    quire_tune_look_free(NULL);
    for (size_t i = 0; i < 2; i++)
        undo(&edits[i]);
}

static void a_machine_that_can_not_be_read(void **state)
{
    struct quire_observe *observe;
    struct quire_tune_look *look;
    char path[PATH_MAX + 16];

    put("after", "proc/meminfo", "MemTotal: x kB\n");
    snprintf(path, sizeof path, "%s/after", root);
    assert_int_equal(quire_observe_open(path, &observe), 0);
    assert_int_equal(quire_tune_look(observe, &look), -EBADMSG);
    assert_null(look);
    quire_observe_close(observe);
    reset("proc/meminfo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_machine_has_no_findings),
        cmocka_unit_test(every_rule_speaks_when_it_should),
        cmocka_unit_test(every_rule_has_both_cases),
        cmocka_unit_test(values_that_are_worked_out),
        cmocka_unit_test(a_process_is_named),
        cmocka_unit_test(fewer_findings_than_there_are),
        cmocka_unit_test(a_machine_that_can_not_be_read),
    };
    return cmocka_run_group_tests(tests, set_up, root_tear_down);
}
