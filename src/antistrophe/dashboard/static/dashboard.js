// What the pages need beside htmx: what is open stays open, orders that are possible now, charts. No page needs it to be read.
"use strict";
(function () {
  const live = () => document.getElementById("live");
  let shown = "";
  let opened = [];
  let scrolled = [];
  let focused = null;

  // Where a person is in the live part: its links, what can be opened, and what scrolls.
  const places = (part) => [...part.querySelectorAll("a[href], summary, [tabindex]")];
  const place = (each) => each.getAttribute("href") || each.parentElement.id || each.className;
  const scrollers = (part) => [...part.querySelectorAll("pre, .scroll")];

  // A person who marks text, or types, in the live part is not disturbed: the next event brings what was left out.
  function isBusy(part) {
    const selection = document.getSelection();
    const marks = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return marks || part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  }

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const part = live();
    const text = event.detail.data;
    if (!part || text === shown || isBusy(part)) {
      event.preventDefault();
      return;
    }
    shown = text;
    opened = [...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
    scrolled = scrollers(part).map((each) => [each.scrollTop, each.scrollLeft]);
    const active = document.activeElement;
    const same = part.contains(active) ? places(part).filter((each) => place(each) === place(active)) : [];
    focused = same.length ? [place(active), same.indexOf(active)] : null;
  });

  document.addEventListener("htmx:sseMessage", () => {
    const part = live();
    for (const [id, open] of opened) {
      const found = document.getElementById(id);
      if (found) found.open = open;
    }
    scrollers(part).forEach((each, number) => {
      const [top, left] = scrolled[number] || [0, 0];
      if (top || left) each.scrollTo(left, top);
    });
    if (focused) {
      const same = places(part).filter((each) => place(each) === focused[0]);
      const found = same[focused[1]] || same[0];
      if (found) found.focus({ preventScroll: true });
    }
    showOrders();
    const logs = document.getElementById("logs");
    if (logs && logs.open) htmx.trigger("#logs-shown", "again");
    document.body.dataset.events = String(Number(document.body.dataset.events || 0) + 1);
  });

  document.addEventListener("htmx:sseOpen", () => document.body.classList.remove("offline"));
  document.addEventListener("htmx:sseError", () => document.body.classList.add("offline"));

  // Only orders that are possible now are offered; which those are changes while the page is open.
  function showOrders() {
    const standing = document.getElementById("standing");
    if (!standing) return;
    const possible = standing.dataset.orders.split(" ");
    let any = false;
    for (const each of document.querySelectorAll("[data-order]")) {
      const can = possible.includes(each.dataset.order);
      any = any || can;
      each.classList.toggle("impossible", !can);
    }
    const orders = document.getElementById("orders");
    if (orders) orders.hidden = !any;
  }

  document.addEventListener("change", (event) => {
    const name = event.target.dataset && event.target.dataset.all;
    if (!name) return;
    for (const each of event.target.form.elements) {
      if (each.name === name) each.checked = event.target.checked;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    const search = document.getElementById("search");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  });

  // --- charts ---------------------------------------------------------------------------------------------------

  const charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

  function chart(place, series, data) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const options = {
      width: place.clientWidth, height: 150, legend: { show: false }, cursor: { points: { size: 6 } },
      scales: { y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.15 : 1] } },
      axes: [{ ...axis, space: 60, size: 28, values: (_chart, moments) => moments.map(clock) }, { ...axis, size: 44 }],
      series: [{}, ...series.map(([stroke, fill]) => ({ stroke: colour(stroke), fill: fill && colour(fill), width: 1.5, spanGaps: false, points: { show: !fill, size: 4, fill: colour(stroke) } }))],
    };
    const made = new uPlot(options, data, place);
    charts.push([made, place]);
    return made;
  }

  function drawCharts(read) {
    const rate = document.querySelector("[data-chart=rate]");
    const latency = document.querySelector("[data-chart=latency]");
    if (!rate || !latency) return;
    if (charts.length) {
      charts[0][0].setData([read.at, read.rate]);
      charts[1][0].setData([read.at, read.p50, read.p95]);
      return;
    }
    chart(rate, [["--accent", "--accent-soft"]], [read.at, read.rate]);
    chart(latency, [["--good"], ["--undo"]], [read.at, read.p50, read.p95]);
  }

  async function readCharts() {
    if (!document.querySelector("[data-chart]") || document.hidden) return;
    try {
      const answer = await fetch(document.body.dataset.root + "/series.json", { credentials: "same-origin" });
      if (answer.ok) drawCharts(await answer.json());
    } catch (error) {
      document.body.classList.add("offline");
    }
  }

  addEventListener("resize", () => {
    for (const [made, place] of charts) made.setSize({ width: place.clientWidth, height: 150 });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    while (charts.length) charts.pop()[0].destroy();
    readCharts();
  });
  addEventListener("DOMContentLoaded", () => {
    showOrders();
    readCharts();
    setInterval(readCharts, 15000);
  });
})();
