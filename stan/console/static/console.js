// What needs a script: live numbers and charts. All else works without.
// One stream for the page; numbers stand where data-value names them; when the stream's version
// changes, "changed" makes the parts that htmx watches read themselves again.
"use strict";

(() => {
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const MOST_POINTS = 600;
  const GAP_S = 15;

  const size = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (Math.abs(value) >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return unit ? `${value.toFixed(1)} ${units[unit]}` : `${Math.trunc(value)} B`;
  };
  const span = (value) => {
    if (value < 1) return value > 0 ? `${value.toFixed(1)}s` : "0s";
    const parts = [];
    let rest = Math.trunc(value);
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
      const count = Math.trunc(rest / length);
      rest %= length;
      if (count || parts.length) parts.push(`${count}${unit}`);
    }
    return parts.slice(0, 2).filter((part) => !part.startsWith("0")).join(" ");
  };
  const formats = {
    count: (value) => whole.format(value),
    rate: (value) => `${tenth.format(value)}/s`,
    ms: (value) => `${value < 10 ? value.toFixed(2) : whole.format(value)} ms`,
    size,
    span,
  };
  // Times are UTC, as everywhere on these pages.
  const clock = (seconds) => (seconds == null ? "-" : new Date(seconds * 1000).toISOString().slice(11, 19));
  const write = (value, format) => (formats[format] || formats.count)(value);

  // Charts.

  const charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const draw = (figure) => {
    const place = figure.querySelector(".plot");
    const names = figure.dataset.series.split("|");
    const labels = figure.dataset.labels.split("|");
    const format = figure.dataset.format;
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const options = {
      width: place.clientWidth,
      height: 180,
      cursor: { y: false },
      axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => write(tick, format)) }],
      scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), Math.max(1, (high || 0) * 1.1)] } },
      series: [
        { label: "UTC", value: (_, value) => clock(value) },
        ...names.map((name, index) => ({
          label: labels[index],
          stroke: colour(`--series${index + 1}`),
          width: 2,
          dash: index ? [6, 3] : undefined,
          value: (_, value) => (value == null ? "-" : write(value, format)),
        })),
      ],
    };
    place.replaceChildren();
    const chart = { figure, names, plot: new uPlot(options, [[], ...names.map(() => [])], place) };
    charts.push(chart);
    return chart;
  };

  const series = { t: [], values: {} };
  const redraw = () => {
    for (const chart of charts) {
      const lines = chart.names.map((name) => series.values[name] || series.t.map(() => null));
      chart.plot.setData([series.t, ...lines]);
    }
  };
  const append = (time, values) => {
    // A pause is a gap, not a line.
    if (series.t.length && time - series.t[series.t.length - 1] > GAP_S) append(time - 0.001, {});
    for (const name of Object.keys(values)) {
      if (!series.values[name]) series.values[name] = series.t.map(() => null);
    }
    series.t.push(time);
    for (const [name, list] of Object.entries(series.values)) list.push(name in values ? values[name] : null);
    if (series.t.length > MOST_POINTS) {
      series.t.shift();
      for (const list of Object.values(series.values)) list.shift();
    }
  };

  // The stream.

  let source = null;
  let address = "";
  let version = null;
  const pulse = document.getElementById("pulse");
  const tell = (word, isOn) => {
    if (!pulse || pulse.dataset.word === word) return;
    pulse.dataset.word = word;
    pulse.textContent = word;
    pulse.classList.toggle("on", isOn);
  };

  const receive = (sample) => {
    for (const place of document.querySelectorAll("[data-value]")) {
      const value = sample.values[place.dataset.value];
      if (value !== undefined) {
        const text = write(value, place.dataset.format);
        if (place.textContent !== text) place.textContent = text;
      }
    }
    append(sample.t, sample.series);
    redraw();
    if (version !== null && version !== sample.version) htmx.trigger(document.body, "changed");
    version = sample.version;
    tell(document.body.dataset.on, true);
  };

  const connect = () => {
    const place = document.querySelector("#list[data-live]") || document.querySelector("body[data-live]");
    const wanted = place ? place.dataset.live : "";
    if (wanted === address && source) return;
    if (source) source.close();
    source = null;
    address = wanted;
    version = null;
    if (!wanted || document.hidden) return;
    source = new EventSource(wanted);
    source.addEventListener("history", (event) => {
      const history = JSON.parse(event.data);
      series.t = history.t;
      series.values = history.series;
      redraw();
    });
    source.addEventListener("sample", (event) => receive(JSON.parse(event.data)));
    source.addEventListener("trouble", (event) => tell(JSON.parse(event.data).text, false));
    source.addEventListener("error", () => tell(document.body.dataset.lost, false));
  };

  const start = () => {
    for (const figure of document.querySelectorAll("figure.chart")) draw(figure);
    connect();
  };
  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("htmx:afterSettle", connect);
  // Nobody looks at a hidden tab.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) { source.close(); source = null; } else connect();
  });
  const fit = () => { for (const { figure, plot } of charts) plot.setSize({ width: figure.querySelector(".plot").clientWidth, height: 180 }); };
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { plot } of charts.splice(0)) plot.destroy();
    for (const figure of document.querySelectorAll("figure.chart")) draw(figure);
    redraw();
  });
})();
