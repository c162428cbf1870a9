"use strict";
// Draws another part of a timeline whenever one is asked for. Without this script the first part stays.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LETTER = 1;
  const OVERVIEW = 16;

  const make = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Numbers of the bars of a row, as columns.
  const unpack = ({ name, bars }) => {
    const count = bars.length / 6;
    const row = { name, kind: [], number: [], micro: [], staleness: [], from: new Float64Array(count), to: new Float64Array(count) };
    let until = 0;
    for (let at = 0; at < count; at++) {
      const [kind, number, micro, gap, lasts, staleness] = bars.slice(6 * at, 6 * at + 6);
      row.kind.push(kind);
      row.number.push(number);
      row.micro.push(micro);
      row.staleness.push(staleness - 1);
      row.from[at] = until + gap;
      row.to[at] = until = row.from[at] + lasts;
    }
    return row;
  };

  // The first bar that ends after a time: bars do not overlap.
  const firstAfter = (row, time) => {
    let [low, high] = [0, row.to.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (row.to[middle] > time) high = middle;
      else low = middle + 1;
    }
    return low;
  };

  const timeline = (figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const { left, right, row: rowHeight, bar, axis, character } = data.sizes;
    const rows = data.rows.map(unpack);
    const part = figure.querySelector(".part");
    const svg = part.querySelector("svg");
    const shown = figure.querySelector("output");
    const under = figure.querySelector(".under");
    const legend = `${under.textContent} After a click into it, + and − or the wheel zoom, and arrows move; so does dragging.`;
    const bottom = rows.length * rowHeight;
    const height = bottom + axis + OVERVIEW;
    const least = Math.min(data.end, 20);
    let [from, to] = [0, data.first];
    let width = 0;
    let isDue = false;

    const number = (row, at) => row.number[at] + (row.micro[at] ? "." + row.micro[at] : "");
    // Version n comes behind batch n − 1.
    const isOfVersion = (row, at) => ["evaluate", "snapshot"].includes(data.kinds[row.kind[at]][0]);
    const top = (at) => (rows.length - 1 - at) * rowHeight;
    const scale = () => (width - left - right) / (to - from);
    const x = (time) => left + (time - from) * scale();
    const time = (x) => from + (x - left) / scale();
    const seconds = (time, digits) => ((data.origin + time) / 1e6).toFixed(digits) + " s";

    // Digits of seconds that tell times of such a distance apart.
    const digits = (distance) => Math.min(6, Math.max(0, 6 - Math.floor(Math.log10(Math.max(1, distance)) + 1e-9)));

    const rectangle = (group, kind, x, width, y) => {
      const [name, letter] = data.kinds[kind];
      const low = letter ? 0 : bar - bar / 4;
      const thin = width < 3 ? " thin" : "";
      group.append(make("rect", { class: name + thin, x: x.toFixed(1), y: y + low, width: width.toFixed(1), height: letter ? bar : bar / 4 }));
    };

    // Bars below a pixel share pixels: the kind that takes most of one has it.
    const drawRow = (row, at) => {
      const group = make("g", {});
      const y = top(at);
      group.append(make("text", { class: "name", x: 0, y: y + bar / 2 }, row.name));
      group.append(make("rect", { class: "idle", x: left, y, width: width - left - right, height: bar }));
      let pixel = -1;
      let run = null;
      const shares = new Float64Array(data.kinds.length);
      const flushRun = () => {
        if (run) rectangle(group, run.kind, run.from, run.to - run.from, y);
        run = null;
      };
      const flushPixel = () => {
        if (pixel < 0) return;
        let most = 0;
        for (let kind = 1; kind < shares.length; kind++) if (shares[kind] > shares[most]) most = kind;
        if (run && run.kind === most && run.to === pixel) run.to = pixel + 1;
        else {
          flushRun();
          run = { kind: most, from: pixel, to: pixel + 1 };
        }
        shares.fill(0);
        pixel = -1;
      };
      for (let at = firstAfter(row, from); at < row.from.length && row.from[at] < to; at++) {
        const [begin, end] = [Math.max(left, x(row.from[at])), Math.min(width - right, x(row.to[at]))];
        if (end - begin < 1) {
          if (Math.floor(begin) !== pixel) {
            flushPixel();
            pixel = Math.floor(begin);
          }
          shares[row.kind[at]] += end - begin;
          continue;
        }
        flushPixel();
        flushRun();
        rectangle(group, row.kind[at], begin, end - begin, y);
        const [name, letter] = data.kinds[row.kind[at]];
        if (!letter) continue;
        const labels = [letter + number(row, at), number(row, at)];
        const label = labels.find((label) => end - begin > character * label.length + 3);
        if (label) group.append(make("text", { class: "on " + name, x: ((begin + end) / 2).toFixed(1), y: y + bar / 2 }, label));
      }
      flushPixel();
      flushRun();
      return group;
    };

    const drawAxis = () => {
      const group = make("g", {});
      const wanted = (to - from) / Math.max(2, Math.min(8, (width - left) / 95));
      const power = 10 ** Math.floor(Math.log10(wanted) + 1e-9);
      const step = Math.max(1, [1, 2, 5, 10].map((by) => by * power).find((step) => step >= wanted * (1 - 1e-9)));
      for (let at = Math.ceil((data.origin + from) / step) * step; at <= data.origin + to; at += step) {
        const place = x(at - data.origin).toFixed(1);
        group.append(make("line", { class: "tick", x1: place, x2: place, y1: bottom - 6, y2: bottom }));
        group.append(make("text", { class: "time", x: place, y: bottom + 12 }, seconds(at - data.origin, digits(step))));
      }
      return group;
    };

    const drawOverview = () => {
      const group = make("g", {});
      const [y, whole] = [bottom + axis + 4, width - left - right];
      group.append(make("rect", { class: "whole", x: left, y, width: whole, height: 8, rx: 3 }));
      const size = Math.max(4, (whole * (to - from)) / data.end);
      const place = left + Math.min(whole - size, (whole * from) / data.end);
      group.append(make("rect", { class: "shown", x: place.toFixed(1), y, width: size.toFixed(1), height: 8, rx: 3 }));
      return group;
    };

    const draw = () => {
      isDue = false;
      width = Math.max(260, part.clientWidth);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.replaceChildren(...rows.map(drawRow), drawAxis(), drawOverview());
      let [first, last] = [Infinity, -Infinity];
      for (const row of rows) {
        for (let at = firstAfter(row, from); at < row.from.length && row.from[at] < to; at++) {
          const batch = row.number[at] - (isOfVersion(row, at) ? 1 : 0);
          first = Math.min(first, batch);
          last = Math.max(last, batch);
        }
      }
      const places = digits((to - from) / 1000);
      const batches = first > last ? "" : first === last ? `, batch ${first}` : `, batches ${first} to ${last}`;
      shown.textContent = `${seconds(from, places)} to ${seconds(to, places)} of ${seconds(0, places)} to ${seconds(data.end, places)}${batches}`;
      svg.setAttribute("aria-label", `What each of ${rows.length} stages did: ${shown.textContent}`);
      figure.dataset.from = from;
      figure.dataset.to = to;
    };

    const show = (begin, length) => {
      length = Math.min(data.end, Math.max(least, length));
      from = Math.min(data.end - length, Math.max(0, begin));
      to = from + length;
      if (!isDue) requestAnimationFrame(draw);
      isDue = true;
    };
    // Around a time, which stays where it is.
    const zoom = (by, around) => {
      const length = Math.min(data.end, Math.max(least, (to - from) * by));
      show(around - ((around - from) * length) / (to - from), length);
    };
    const middle = () => (from + to) / 2;
    const actions = {
      in: () => zoom(0.5, middle()),
      out: () => zoom(2, middle()),
      left: () => show(from - (to - from) / 4, to - from),
      right: () => show(from + (to - from) / 4, to - from),
      first: () => show(0, data.first),
      last: () => show(data.end, to - from),
      all: () => show(0, data.end),
    };
    const keys = { "+": "in", "=": "in", "-": "out", "_": "out", ArrowLeft: "left", ArrowRight: "right", ArrowUp: "in", ArrowDown: "out", Home: "first", End: "last", 0: "all" };

    const placeOf = (event) => {
      const box = svg.getBoundingClientRect();
      return { x: ((event.clientX - box.left) * width) / box.width, y: ((event.clientY - box.top) * height) / box.height };
    };

    // What is under the pointer, in words.
    const tell = (place) => {
      const at = rows.length - 1 - Math.floor(place.y / rowHeight);
      const row = rows[at];
      const when = time(place.x);
      const bar = row && place.x >= left ? firstAfter(row, when) : Infinity;
      if (!row || !(bar < row.from.length) || row.from[bar] > when) {
        under.textContent = legend;
        return;
      }
      const [, letter, words] = data.kinds[row.kind[bar]];
      const what = letter ? words : "waits" + words.replace("wait", "");
      const unit = isOfVersion(row, bar) ? "version" : "batch";
      const stale = row.staleness[bar] < 0 ? "" : `, staleness ${row.staleness[bar]}`;
      const lasts = ((row.to[bar] - row.from[bar]) / 1000).toFixed(3);
      under.textContent = `${row.name}: ${what}, ${unit} ${number(row, bar)}, at ${seconds(row.from[bar], 6)} for ${lasts} ms${stale}`;
    };

    let drag = null;
    const moveWindow = (place) => {
      const centre = ((place.x - left) / (width - left - right)) * data.end;
      show(centre - (to - from) / 2, to - from);
    };
    part.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const place = placeOf(event);
      drag = { x: place.x, from, isOverview: place.y > bottom + axis };
      part.setPointerCapture(event.pointerId);
      part.classList.add("moves");
      if (drag.isOverview) moveWindow(place);
    });
    part.addEventListener("pointermove", (event) => {
      const place = placeOf(event);
      if (!drag) tell(place);
      else if (drag.isOverview) moveWindow(place);
      else show(drag.from - (place.x - drag.x) / scale(), to - from);
    });
    const drop = () => {
      drag = null;
      part.classList.remove("moves");
    };
    part.addEventListener("pointerup", drop);
    part.addEventListener("pointercancel", drop);
    part.addEventListener("pointerleave", () => (under.textContent = legend));
    // The wheel scrolls the page until the timeline has been clicked or Ctrl is held.
    part.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== part) return;
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        show(from + (event.deltaX || event.deltaY) / scale(), to - from);
      } else zoom(2 ** (Math.max(-100, Math.min(100, event.deltaY)) / 200), time(Math.max(left, placeOf(event).x)));
    }, { passive: false });
    part.addEventListener("dblclick", (event) => zoom(0.5, time(Math.max(left, placeOf(event).x))));
    part.addEventListener("keydown", (event) => {
      const action = keys[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[action]();
    });
    const controls = figure.querySelector(".controls");
    controls.addEventListener("click", (event) => actions[event.target.dataset.do]?.());
    controls.hidden = false;
    part.classList.add("live");
    part.tabIndex = 0;
    part.setAttribute("role", "group");
    part.setAttribute("aria-label", "Timeline. Plus and minus zoom, arrows move, Home shows the first batches, 0 everything.");
    new ResizeObserver(() => show(from, to - from)).observe(part);
    under.textContent = legend;
    draw();
  };

  for (const figure of document.querySelectorAll("figure.timeline")) timeline(figure);
})();
