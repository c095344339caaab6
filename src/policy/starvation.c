/* SPDX-License-Identifier: Apache-2.0 */
/* starvation: see starvation.h. */
#include "policy/starvation.h"

bool starvation_between(const struct turns *then, const struct turns *now)
{
    if (now->thread != then->thread || then->ran_ns == 0 || now->ran_ns < then->ran_ns)
        return false;
    const uint64_t waited = now->waited_ns - then->waited_ns, ran = now->ran_ns - then->ran_ns;
    return waited > ran + (now->at_ns - then->at_ns) / STARVATION_SHARE;
}
