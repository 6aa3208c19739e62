"""The page without its contents: HTML, style and the script that draws. ``@@NAME@@`` is filled in."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-@@NONCE@@';
 style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>@@TITLE@@ – poptrain</title>
<style>
@@STYLE@@
</style>
</head>
<body>
<header><h1>@@TITLE@@ <span class="state @@STATE@@">@@STATE@@</span></h1><p>@@HEAD@@</p></header>
<main>
@@BODY@@
</main>
<footer>Made by poptrain from the log of the run alone.</footer>
<script type="application/json" id="charts">@@CHARTS@@</script>
<script type="application/octet-stream" id="plotly">@@PLOTLY@@</script>
<script nonce="@@NONCE@@">
@@SCRIPT@@
</script>
</body>
</html>
"""

STYLE = """\
:root { --ink: #24292f; --note: #6a737d; --line: #e3e6ea; --best: #d55e00; --paper: #ffffff; --ground: #f5f6f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 30px; }
h1 { margin: 0; font-size: 28px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header p { margin: 2px 0 18px; color: var(--note); overflow-wrap: anywhere; }
.state { vertical-align: 5px; margin-left: 8px; padding: 3px 10px;
  border-radius: 99px; font-size: 12.5px; font-weight: 600;
  letter-spacing: 0; background: #fdf0d5; color: #7a5200; }
.state.running, .state.finished { background: #dff1e8; color: #0b5d43; }
.state.failed { background: #f8e0e0; color: #7a1f1f; }
section, .cards > div { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
section { margin: 0 0 20px; padding: 18px 22px 14px; }
h2 { margin: 0 0 4px; font-size: 17px; }
.note { margin: 0 0 10px; color: var(--note); font-size: 13.5px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 20px; }
.cards > div { padding: 12px 16px; }
.cards b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; line-height: 1.25; }
.cards span { color: var(--note); font-size: 12.5px; }
.cards .best b { color: var(--best); }
.notes { margin: 0 0 20px; padding: 14px 22px; list-style: none; }
.notes li { margin: 3px 0; }
.warning { color: #8a4b00; }
.chart { width: 100%; overflow: hidden; }
.chart + .scroll, h2 + .scroll { margin-top: 10px; }
.scroll { max-height: 430px; overflow: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: #f0f2f4; text-align: left; font-weight: 600; white-space: nowrap; }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.text { overflow-wrap: anywhere; }
td .was { color: var(--note); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; margin: 6px 0 0; font-size: 14px; }
.facts dt { color: var(--note); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
code { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { padding: 6px 24px 40px; color: var(--note); font-size: 13px; }
@media print { body { background: white; } section { break-inside: avoid; border: 0; } .scroll { max-height: none; } }
"""

SCRIPT = """\
"use strict";
(async (nonce) => {
  const holders = document.querySelectorAll(".chart");
  const text = (id) => document.getElementById(id).textContent;
  try {
    const packed = Uint8Array.from(atob(text("plotly")), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.nonce = nonce;
    library.textContent = await new Response(stream).text();
    document.head.append(library);
    const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
    const settings = { responsive: true, displaylogo: false, modeBarButtons: buttons };
    const charts = JSON.parse(text("charts"));
    for (const [id, chart] of Object.entries(charts)) {
      await Plotly.newPlot(id, chart.data, chart.layout, settings);
    }
    document.documentElement.dataset.drawn = Object.keys(charts).length;
  } catch (error) {
    for (const holder of holders) {
      if (holder.hasChildNodes()) continue;
      holder.textContent = `This chart cannot be drawn here (${error}): open the page in a browser of 2023 or later.`;
    }
    throw error;
  }
})(document.currentScript.nonce);
"""
