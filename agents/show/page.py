"""Episodes as one self-contained web page: frames inside, buttons, keys, a scrubber, belief bars."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import imageio.v3 as iio

from glimpse_env.render import Frame, View, draw_frame

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>glimpse_env: @TITLE@</title>
<style>
body { background: #0e1117; color: #e2e7f0; font: 16px system-ui, sans-serif; margin: 1.5rem auto; max-width: 60rem; }
img { width: 100%; image-rendering: auto; border-radius: 6px; }
button, select { background: #1b202a; color: inherit; border: 1px solid #353c4c; border-radius: 6px;
  font: inherit; padding: .4rem .9rem; cursor: pointer; }
button:focus-visible, input:focus-visible, select:focus-visible { outline: 2px solid #ffc240; }
#bar { display: flex; gap: .5rem; align-items: center; margin: .75rem 0; }
#scrub { flex: 1; accent-color: #ffc240; }
#belief { display: flex; gap: 3px; align-items: flex-end; height: 7rem; background: #1b202a; border-radius: 6px;
  padding: .5rem; }
#belief[hidden] { display: none; }
#belief div { flex: 1; text-align: center; font-size: .7rem; color: #808a9c; min-width: 0; overflow: hidden; }
#belief i { display: block; background: #5c8ede; border-radius: 2px; min-height: 1px; }
#belief .top i { background: #ffc240; }
#belief .top { color: #e2e7f0; }
small { color: #808a9c; }
</style>
<select id="episode" aria-label="episode"></select>
<p><img id="frame" alt="the canvas, the eye on it, what it sees and has seen"></p>
<div id="bar">
<button id="back" title="left arrow">&#9664;</button>
<button id="play" title="space">play</button>
<button id="next" title="right arrow">&#9654;</button>
<input id="scrub" type="range" min="0" value="0" aria-label="moment">
<span id="where"></span>
</div>
<div id="belief" aria-label="belief"></div>
<p><small>space: play or pause &nbsp; arrows: step &nbsp; n, p: next, previous episode</small></p>
<script>
const episodes = @DATA@;
let episode = 0, moment = 0, timer = null;
const at = id => document.getElementById(id);
episodes.forEach((e, i) => at("episode").add(new Option(e.title, i)));
function show() {
  const now = episodes[episode], seen = now.moments[moment];
  at("frame").src = "data:image/png;base64," + seen.frame;
  at("scrub").max = now.moments.length - 1;
  at("scrub").value = moment;
  at("episode").value = episode;
  at("where").textContent = (moment + 1) + " / " + now.moments.length;
  at("play").textContent = timer ? "pause" : "play";
  at("belief").replaceChildren(...(seen.belief || []).map((p, i, all) => {
    const column = document.createElement("div"), bar = document.createElement("i");
    bar.style.height = 5.2 * p + "rem";
    if (p === Math.max(...all)) column.className = "top";
    column.append(bar, now.names[i]);
    column.title = now.names[i] + ": " + (100 * p).toFixed(1) + "%";
    return column;
  }));
  at("belief").hidden = !seen.belief;
}
function stop() { clearInterval(timer); timer = null; }
function go(to) { moment = Math.max(0, Math.min(to, episodes[episode].moments.length - 1)); show(); }
function turn(to) { stop(); episode = (to + episodes.length) % episodes.length; go(0); }
function play() {
  if (timer) { stop(); show(); return; }
  if (moment === episodes[episode].moments.length - 1) moment = -1;
  const step = () => { if (moment >= episodes[episode].moments.length - 2) stop(); go(moment + 1); };
  timer = setInterval(step, 800);
  step();
}
at("play").onclick = play;
at("next").onclick = () => { stop(); go(moment + 1); };
at("back").onclick = () => { stop(); go(moment - 1); };
at("scrub").oninput = event => { stop(); go(+event.target.value); };
at("episode").onchange = event => turn(+event.target.value);
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const does = { " ": play, ArrowRight: at("next").onclick, ArrowLeft: at("back").onclick,
    n: () => turn(episode + 1), p: () => turn(episode - 1) }[event.key];
  if (does) { event.preventDefault(); does(); }
};
show();
</script>
</html>
"""


def to_html(episodes: list[tuple[str, list[View]]]) -> str:
    """The page of episodes, each a title and its views; it loads nothing from elsewhere."""
    data = [
        {
            "title": title,
            "names": views[0].answer_names,
            "moments": [
                {
                    "frame": _png(draw_frame(view)),
                    "belief": None if view.belief is None else [round(float(p), 4) for p in view.belief],
                }
                for view in views
            ],
        }
        for title, views in episodes
    ]
    # "</" would end the script element.
    text = json.dumps(data).replace("</", "<\\/")
    return PAGE.replace("@TITLE@", html.escape(episodes[0][0])).replace("@DATA@", text)


def write_html(path: Path, episodes: list[tuple[str, list[View]]]) -> None:
    """Write the page to `path`."""
    path.write_text(to_html(episodes), encoding="utf-8")


def _png(frame: Frame) -> str:
    return base64.b64encode(iio.imwrite("<bytes>", frame, extension=".png")).decode()
