"""The style of the report page: one text, whose digest the page's Content-Security-Policy names.

Light and dark by what the reader prefers, one column on a phone, no tints on paper. Fonts are those that are there.
"""

from __future__ import annotations

STYLE = """
:root {
  --paper: #faf9f5; --card: #fffefb; --tint: #f1efe7; --line: #e2dfd4; --ink: #20252a; --soft: #5b636b;
  --good: #22694b; --good-tint: #e3efe7; --cell: #a9c9b7;
  --bad: #b3321f; --bad-tint: #fae9e4; --note: #83590a; --note-tint: #f8eed6; --older: #dcb357; --on: #fffefb;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, "Source Serif 4", Georgia, serif;
  --sans: system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181a; --card: #1d2023; --tint: #25292c; --line: #34393d; --ink: #e7e4dc; --soft: #a0a6ab;
    --good: #7cc3a0; --good-tint: #1e332a; --cell: #3d6b56;
    --bad: #f0907c; --bad-tint: #402520; --note: #ddb45e; --note-tint: #372d17; --older: #a67f2c; --on: #16181a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 var(--sans); }
body::before { content: ""; display: block; height: 6px; background: var(--tone); }
body.tone-good { --tone: var(--good); --tone-tint: var(--good-tint); }
body.tone-note { --tone: var(--note); --tone-tint: var(--note-tint); }
body.tone-bad { --tone: var(--bad); --tone-tint: var(--bad-tint); }
main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.75rem; }
header { padding: 3.25rem 0 0; }
p, dl, ul, ol, figure, pre { margin: 0; padding: 0; }
ul { list-style: none; }
section { margin-top: 3.5rem; }
h1, h2, h3 { font-family: var(--serif); font-weight: 600; line-height: 1.2; text-wrap: balance; margin: 0; }
h1 { display: flex; gap: 1.1rem; align-items: flex-start; margin: .6rem 0 1.9rem; letter-spacing: -.012em;
  font-size: clamp(1.75rem, 1.15rem + 2.7vw, 2.9rem); }
h1 span { overflow-wrap: anywhere; min-width: 0; }
h1 .sign { color: var(--tone); width: 1.1em; height: 1.1em; margin-top: .05em; }
h2 { font-size: 1.45rem; margin-bottom: 1.1rem; }
h3 { font-size: 1.2rem; overflow-wrap: anywhere; }
code, pre, .path { font-family: var(--mono); font-size: .84em; overflow-wrap: anywhere; }
.path, code.whole, pre { -webkit-user-select: all; user-select: all; }
.good { color: var(--good); } .bad { color: var(--bad); } .note { color: var(--note); }
.description, .aside, .when, figcaption, footer, .quiet { color: var(--soft); }
.eyebrow { color: var(--soft); font-size: .8rem; letter-spacing: .09em; text-transform: uppercase; }
.aside { font-size: .9rem; margin-top: .6rem; }

.sign { flex: none; width: 1.15em; height: 1.15em; fill: none; stroke: currentColor; stroke-width: 2.4;
  stroke-linecap: round; stroke-linejoin: round; }
.sign circle { fill: currentColor; stroke: none; }
.sign path { stroke: var(--on); }

.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.75rem; padding: 1.1rem 0; border: solid var(--line);
  border-width: 1px 0; font-size: .95rem; }
.facts div { min-width: 0; }
dt { color: var(--soft); font-size: .82rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.tally { display: flex; flex-wrap: wrap; gap: .4rem 1.75rem; margin-top: 1.1rem; }
.tally .named { flex: 0 0 100%; display: grid; grid-template-columns: 10.5rem minmax(0, 1fr); }
.tally .verdict { display: inline-flex; align-items: center; gap: .45rem; white-space: nowrap; }
.names { color: var(--soft); overflow-wrap: anywhere; }
a { color: inherit; text-decoration: underline; text-decoration-color: var(--line); text-underline-offset: .2em; }
a:hover, a:focus { text-decoration-color: currentColor; }

.promise { display: grid; grid-template-columns: 15rem 1fr; gap: 1rem 2.5rem; align-items: center;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.5rem 1.75rem; }
.figure { color: var(--soft); }
.figure strong { display: block; color: var(--ink); font: 600 3.4rem/1.05 var(--serif); letter-spacing: -.02em;
  white-space: nowrap; }
.bar { display: block; border-radius: 5px; background: var(--tint); }
.bar .within { fill: var(--good); } .bar .older { fill: var(--older); } .bar .unverified { fill: var(--bad); }
.bar pattern path { stroke: var(--card); stroke-width: 1.4; stroke-opacity: .7; fill: none; }
.bar .texture { pointer-events: none; }
.keys, .legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .55rem 0 .7rem; color: var(--soft);
  font-size: .88rem; }
.keys li, .legend li { display: flex; align-items: center; gap: .45rem; }
.keys .key { width: .7rem; height: .7rem; border-radius: 3px; }
.key.within { background: var(--good); }
.key.older { background: repeating-linear-gradient(135deg, var(--older) 0 3px, var(--card) 3px 4px); }
.key.unverified { background: repeating-linear-gradient(45deg, var(--bad) 0 3px, var(--card) 3px 4px); }

.steps { list-style: none; counter-reset: step; display: grid; gap: 1.35rem; }
.steps > li { counter-increment: step; padding-left: 2.9rem; position: relative; min-width: 0; }
.steps > li::before { content: counter(step); position: absolute; left: 0; top: -.1rem; width: 1.8rem; height: 1.8rem;
  border-radius: 50%; background: var(--tone-tint); color: var(--tone); font: 600 1rem/1.8rem var(--serif);
  text-align: center; }
.steps p { max-width: 46rem; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 7px; padding: .7rem .95rem;
  margin-top: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; font-size: .88rem; }
pre code { font-size: inherit; }
pre .word { display: inline-block; max-width: 100%; }

article { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad);
  border-radius: 10px; padding: 1.5rem 1.75rem 1.6rem; margin-top: 1.4rem; }
#mended article { border-left-color: var(--good); }
article h3 { display: flex; flex-wrap: wrap; gap: .35rem .8rem; align-items: center; }
.told { font-size: 1.08rem; margin-top: .75rem; max-width: 50rem; overflow-wrap: anywhere; }
.description { font-size: .92rem; }
figure { margin: 1.4rem 0 1.5rem; }
figcaption { font-size: .88rem; margin-top: .6rem; }
.legend { margin: .3rem 0 0; }
.map { display: block; max-width: 100%; height: auto; overflow: visible; }
.map .intact { fill: var(--cell); }
.cell rect { fill: var(--bad); }
.cell path { stroke: var(--on); stroke-width: 1.7; stroke-linecap: round; fill: none; }
.cell.gone rect { fill: var(--bad-tint); stroke: var(--bad); stroke-width: 1.5; }
.legend .map { width: 1rem; height: 1rem; }
.known { display: grid; gap: .55rem 2.5rem; margin-top: 1.3rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
.known div { min-width: 0; }
.known .wide { grid-column: 1 / -1; }

.badge { display: inline-flex; align-items: center; gap: .35rem; white-space: nowrap;
  font-family: var(--sans); font-weight: 600; font-size: .94em; }
h3 .badge { font-size: .8em; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .5rem; font-size: .9rem; }
article table { margin-top: 1.5rem; width: auto; min-width: min(100%, 36rem); }
th { text-align: left; font-weight: 500; font-size: .82rem; color: var(--soft); }
th, td { padding: .55rem 1.2rem .55rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
td { overflow-wrap: break-word; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
#checkpoints td { padding-top: .85rem; padding-bottom: .85rem; }
#checkpoints td:not(:first-child) { white-space: nowrap; }
#checkpoints td:nth-child(5) { white-space: normal; min-width: 8.5rem; }
.name { min-width: 14rem; overflow-wrap: anywhere; }
.name .path { color: var(--soft); font-size: .78rem; line-height: 1.45; margin-top: .15rem; }
.tag { display: inline-block; border: 1px solid var(--line); border-radius: 4px; padding: 0 .35rem;
  margin-right: .25rem; font-size: .78rem; }
.when { font-size: .82rem; }
.digest { display: inline-block; width: 9ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  vertical-align: bottom; -webkit-user-select: all; user-select: all; }
.digest:focus { width: auto; max-width: 20rem; white-space: normal;
  outline: 2px solid var(--line); outline-offset: 2px; }
.strip { display: block; margin-top: .5rem; border-radius: 3px; max-width: 26rem; }
.strip .intact { fill: var(--cell); } .strip .damaged { fill: var(--bad); }

.words { display: grid; gap: .9rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.words dt { color: var(--ink); font: 600 1rem/1.4 var(--serif); }
.words dd { color: var(--soft); font-size: .92rem; }
footer { margin-top: 3.5rem; padding-top: 1.2rem; padding-bottom: 2.5rem; font-size: .85rem; }

@media screen and (max-width: 46rem) {
  main, footer { padding-left: 1.1rem; padding-right: 1.1rem; }
  header { padding-top: 1.75rem; }
  h1 { gap: .75rem; margin-bottom: 1.35rem; }
  section { margin-top: 2.6rem; }
  .facts { gap: .7rem 2rem; }
  .tally .named { grid-template-columns: 1fr; }
  .promise { grid-template-columns: 1fr; padding: 1.2rem; }
  .steps > li { padding-left: 2.4rem; }
  article { padding: 1.15rem 1.1rem 1.2rem; }
  table, caption, tbody, tr, td { display: block; width: auto; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  tr { border-bottom: 1px solid var(--line); padding: .8rem 0; }
  td, #checkpoints td { display: grid; grid-template-columns: 7.2rem minmax(0, 1fr); gap: .8rem; border: 0;
    padding: .14rem 0; text-align: left; }
  td::before { content: attr(data-label); color: var(--soft); font-size: .82rem; padding-top: .1em; }
  #checkpoints td:first-child { display: block; padding-bottom: .4rem; }
  #checkpoints td:first-child::before { content: none; }
  #checkpoints td:not(:first-child) { white-space: normal; }
  .name { min-width: 0; }
  .when { display: inline; } .when::before { content: " · "; }
  td.number { text-align: left; white-space: normal; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --tint: #fff; }
  html { font-size: 13px; }
  body { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main, footer { max-width: none; padding: 0; }
  header { padding-top: 1rem; }
  section { margin-top: 1.6rem; }
  .steps > li, tr, figure, .promise, .words div { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .screen { display: none; }
  .digest { width: auto; max-width: 18ch; white-space: normal; overflow-wrap: anywhere; }
}
"""
