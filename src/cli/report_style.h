/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_style: the style sheet of the report. Colours are those of Okabe and Ito (2008), which all
 * kinds of sight tell apart, a little brighter on dark ground.
 */
#ifndef QUIRE_CLI_REPORT_STYLE_H
#define QUIRE_CLI_REPORT_STYLE_H

#define REPORT_STYLE                                                                               \
    ":root{color-scheme:light dark;--ground:#fff;--ink:#1b1d21;--soft:#5b616b;--rule:#d9dce1;"     \
    "--card:#f5f6f8;--good:#00734f;--poor:#9a5b00;--bad:#b3261e;"                                  \
    "--k0:#0072b2;--k1:#56b4e9;--k2:#009e73;--k3:#cc79a7;--k4:#b9bec7;--k5:#d55e00;--k6:#e69f00;"  \
    "--k7:#6a51a3}\n"                                                                              \
    "@media(prefers-color-scheme:dark){:root{--ground:#14161a;--ink:#e8eaee;--soft:#9aa1ad;"       \
    "--rule:#343a43;--card:#1d2026;--good:#4fd1a5;--poor:#f0b35b;--bad:#ff8a80;"                   \
    "--k0:#3f9fdc;--k1:#8fd0f5;--k2:#2cc499;--k3:#df97c0;--k4:#5a616c;--k5:#f0803c;--k6:#f2b83f;"  \
    "--k7:#a48fe0}}\n"                                                                             \
    "*{box-sizing:border-box}body{margin:0 auto;max-width:64rem;padding:1rem;background:"          \
    "var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"                         \
    "h1{font-size:1.5rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}"                   \
    "h2{font-size:1.15rem;margin:2rem 0 0}h3{font-size:.95rem;margin:.8rem 0 .2rem}"               \
    "p{margin:.3rem 0}.soft,figcaption p,.legend span,.empty{color:var(--soft)}"                   \
    "code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}\n"                              \
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;"    \
    "padding:0;margin:1rem 0;list-style:none}.cards "                                              \
    "li{background:var(--card);border-radius:.5rem;"                                               \
    "padding:.6rem .8rem}.cards b{display:block;font-size:1.25rem;line-height:1.3}"                \
    ".cards span{display:block;font-size:.8rem;color:var(--soft)}\n"                               \
    ".words{padding:0;list-style:none}.words li{border-left:.25rem solid var(--rule);"             \
    "padding:.15rem .7rem;margin:.4rem 0}.words .good{border-color:var(--good)}"                   \
    ".words .poor{border-color:var(--poor)}.words .bad{border-color:var(--bad)}\n"                 \
    "figure{margin:0}figcaption p{font-size:.875rem;max-width:46rem}"                              \
    ".plot{position:relative;height:240px;margin:.8rem 0 0 4.6rem;border-left:1px solid "          \
    "var(--rule);border-bottom:1px solid var(--rule)}.plot svg{display:block;width:100%;"          \
    "height:100%;overflow:hidden}.heat{background:var(--card)}\n"                                  \
    ".y span,.x span{position:absolute;font-size:.72rem;line-height:1;color:var(--soft);"          \
    "white-space:nowrap}.y span{right:100%;margin-right:.4rem;transform:translateY(50%)}"          \
    ".x{position:relative;height:1.3rem;margin-left:4.6rem}.x span{top:.35rem;"                    \
    "transform:translateX(-50%)}.x .first{transform:none}.x .last{transform:translateX(-100%)}\n"                             \
    ".legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:0;margin:.3rem 0 0 4.6rem;"      \
    "list-style:none;font-size:.82rem}.legend i{display:inline-block;width:.8rem;height:.8rem;"    \
    "margin-right:.35rem;vertical-align:-.06rem;background:currentColor}\n"                        \
    "svg .c0{fill:var(--k0)}svg .c1{fill:var(--k1)}svg .c2{fill:var(--k2)}svg .c3{fill:var(--k3)}" \
    "svg .c4{fill:var(--k4)}svg .c5{fill:var(--k5)}svg .c6{fill:var(--k6)}svg .c7{fill:var(--k7)}" \
    "i.c0{color:var(--k0)}i.c1{color:var(--k1)}i.c2{color:var(--k2)}i.c3{color:var(--k3)}"         \
    "i.c4{color:var(--k4)}i.c5{color:var(--k5)}i.c6{color:var(--k6)}i.c7{color:var(--k7)}"         \
    "svg .cool{fill:var(--k0)}svg "                                                                \
    ".hot{fill:var(--k5)}i.cool{color:var(--k0)}i.hot{color:var(--k5)}\n"                          \
    "svg .grid{stroke:var(--rule);fill:none}svg .line,svg .limit,svg .mark{fill:none;"             \
    "stroke-width:2;vector-effect:non-scaling-stroke}svg .grid{vector-effect:non-scaling-stroke}"  \
    "svg .l2{stroke:var(--k2);stroke-width:3}svg .limit{stroke:var(--bad);stroke-dasharray:6 4}"   \
    "svg .mark{stroke:var(--ink)}svg .far{stroke:var(--bad)}svg .tips rect{fill:transparent}"      \
    "i.limit{color:var(--bad);height:.15rem!important;vertical-align:.25rem!important}"            \
    "i.mark{width:.15rem!important}i.far{color:var(--bad)}\n"                                      \
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem;margin:.6rem 0}"       \
    "th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--rule);"       \
    "vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}td{overflow-wrap:anywhere}"  \
    "th{font-weight:600;white-space:nowrap}\n"                                                     \
    "@media(max-width:30rem){body{padding:.7rem}.cards{grid-template-columns:1fr 1fr}"             \
    ".plot{height:190px}.plot,.x,.legend{margin-left:3.9rem}}\n"                                   \
    "@media print{:root{--ground:#fff;--ink:#000;--soft:#444;--card:#f3f3f3}body{max-width:none;"  \
    "padding:0;font-size:12px}figure,.cards,tr{break-inside:avoid}h2{break-after:avoid}"           \
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}\n"

#endif
