// Draws the tables and plots of the page from its data. Every name goes in as text, never as markup.
"use strict";
(async () => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /** An element with attributes and children; strings become text. */
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  // --- numbers ------------------------------------------------------------------------------------------------

  const PREFIXES = ["a", "f", "p", "n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

  /** The value with an engineering prefix and four digits; bytes and operations take no small prefix, seconds no large one. */
  const quantity = (value, unit) => {
    if (value === null || value === undefined) return "-";
    if (value === 0) return `0 ${unit}`;
    if (Number.isInteger(value) && Math.abs(value) < 1000) return `${value} ${unit}`;
    const rounded = Number(value.toPrecision(4));
    const [low, high] = [/^(B|FLOP|MAC)/.test(unit) ? 0 : -6, unit === "s" ? 0 : 6];
    const power = Math.floor(Math.log10(Math.abs(rounded)) + 1e-12);
    const step = Math.max(low, Math.min(high, Math.floor(power / 3)));
    const decimals = Math.max(0, 3 - power + 3 * step);
    return `${(rounded / 10 ** (3 * step)).toFixed(Math.min(decimals, 20))} ${PREFIXES[step + 6]}${unit}`;
  };
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const plain = (value) => (value === null ? "-" : String(Number(value.toPrecision(4))));

  // --- data ---------------------------------------------------------------------------------------------------

  const inflate = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const data = JSON.parse(await inflate(find("#data").textContent.trim()));
  const record = (fields, row) => Object.fromEntries(fields.map((field, i) => [field, row[i]]));
  for (const report of data.reports) {
    report.byOperator = new Map();
    report.subgraphs = report.subgraphs.map((row, rank) => {
      const subgraph = { rank: rank + 1, ...record(report.subgraph_fields, row) };
      subgraph.operators = subgraph.operators.map((inner) => {
        const operator = { ...record(report.operator_fields, inner), subgraph };
        report.byOperator.set(operator.operator_id, operator);
        return operator;
      });
      subgraph.text = [subgraph.id, subgraph.name, subgraph.fusion_pattern, ...subgraph.operators.map((o) => `${o.source_name} ${o.operator_type}`)]
        .join("\n").toLowerCase();
      return subgraph;
    });
  }

  // --- tables -------------------------------------------------------------------------------------------------

  const share = (value, largest) => {
    const bar = make("i");
    bar.style.width = `${largest > 0 && value > 0 ? Math.max(2, (100 * value) / largest) : 0}%`;
    return make("span", { class: "share" }, make("span", { "aria-hidden": "true" }, bar), percent(value));
  };

  /**
   * A table that sorts by its headings, filters, and opens rows.
   * columns: {title, value(row), cell(row), number, wide}; `value` sorts, `cell` shows.
   * options: label, key(row), text(row) for the filter, groups {label, of(row)}, detail(row), limit, sort [column, direction].
   */
  const grid = (host, columns, rows, options) => {
    const state = { sort: options.sort, filter: "", group: "", open: new Set(), limit: options.limit ?? 100 };
    const body = make("tbody");
    const count = make("span", { class: "count", role: "status" });
    const more = make("button", { type: "button", class: "more", onclick: () => { state.limit = Infinity; draw(); } });
    const heads = columns.map((column, i) => make("th", { scope: "col", class: classes(column) },
      make("button", { type: "button", onclick: () => {
        state.sort = [i, state.sort[0] === i ? -state.sort[1] : column.number ? -1 : 1];
        draw();
      } }, column.title)));
    const table = make("table", { "aria-label": options.label }, make("thead", {}, make("tr", {}, ...heads)), body);

    const controls = make("div", { class: "controls" });
    let clear = () => {};
    if (options.text) {
      const input = make("input", { type: "search", placeholder: options.placeholder, "aria-label": options.placeholder, autocomplete: "off" });
      input.addEventListener("input", () => { state.filter = input.value.trim().toLowerCase(); draw(); });
      controls.append(input);
      clear = () => { input.value = ""; state.filter = ""; state.group = ""; if (select) select.value = ""; };
    }
    let select = null;
    if (options.groups) {
      const names = [...new Set(rows.map(options.groups.of))].sort();
      select = make("select", { "aria-label": options.groups.label }, make("option", { value: "" }, options.groups.label), ...names.map((name) => make("option", { value: name }, name)));
      select.addEventListener("change", () => { state.group = select.value; draw(); });
      if (names.length > 1) controls.append(select);
    }
    controls.append(count);

    const wanted = () => rows.filter((row) => (!state.group || options.groups.of(row) === state.group)
      && (!state.filter || options.text(row).includes(state.filter)));
    const toggle = (key) => { if (!state.open.delete(key)) state.open.add(key); draw(key); };

    const draw = (focus) => {
      const [by, direction] = state.sort;
      const value = columns[by].value;
      const found = wanted().sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const order = x === null ? 1 : y === null ? -1 : typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return x === null || y === null ? order : direction * order;
      });
      heads.forEach((head, i) => {
        if (i === by) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      body.replaceChildren(...found.slice(0, state.limit).flatMap((row) => lines(row)));
      count.textContent = `${found.length === rows.length ? "" : `${found.length} of `}${rows.length} ${options.noun}${options.note ?? ""}`;
      more.textContent = `Show all ${found.length}`;
      more.hidden = found.length <= state.limit;
      if (focus !== undefined) find(`[data-key="${CSS.escape(focus)}"]`, body)?.focus();
    };

    const lines = (row) => {
      const key = options.key(row);
      const open = state.open.has(key);
      const cells = columns.map((column) => {
        let content = column.cell(row);
        if (column.opens && options.detail) {
          content = make("button", { type: "button", class: "opener", "aria-expanded": String(open), "data-key": key }, content);
        }
        return make(column.opens ? "th" : "td", { class: classes(column), scope: column.opens ? "row" : null }, content);
      });
      const line = make("tr", { class: `${options.detail ? "row" : ""}${open ? " open" : ""}` }, ...cells);
      if (!options.detail) return [line];
      line.addEventListener("click", () => { if (!String(getSelection())) toggle(key); });
      if (!open) return [line];
      return [line, make("tr", { class: "inner" }, make("td", { colspan: columns.length }, options.detail(row)))];
    };


    host.replaceChildren(controls, make("div", { class: "scroll" }, table), more);
    draw();
    return {
      open: (key) => {
        clear();
        state.open.add(key);
        const at = rows.findIndex((row) => options.key(row) === key);
        if (at >= state.limit) state.limit = Infinity;
        draw(key);
        find(`[data-key="${CSS.escape(key)}"]`, body)?.scrollIntoView({ block: "center" });
      },
    };
  };
  const classes = (column) => [column.number ? "n" : "", column.opens ? "name" : "", column.wide ? "wide" : ""].join(" ").trim();
  const bound = (name) => make("span", { class: `bound ${/^\w+$/.test(name) ? name : ""}` }, name);

  /** What one operator does, and on every machine of the page. */
  const operatorDetail = (report) => (operator) => {
    const facts = [
      ["type", operator.operator_type], ["id", operator.operator_id], ["FLOPs", quantity(operator.flops, "FLOP")], ["MACs", quantity(operator.macs, "MAC")],
      ["bytes read", quantity(operator.bytes_read, "B")], ["bytes written", quantity(operator.bytes_written, "B")],
      ["EDP by events", quantity(operator.event_edp, "J*s")], ["base EDP (by FLOPs)", quantity(operator.base_edp, "J*s")],
      ["architectural EDP", quantity(operator.architectural_edp, "J*s")],
      ["declared modifier", plain(operator.architectural_modifier)], ["modelled modifier", plain(operator.modelled_modifier)],
      ["saved by fusing it", quantity(operator.fusion_benefit, "J*s")],
    ];
    const parts = [make("dl", { class: "detail" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))];
    const others = data.reports.filter((other) => other.byOperator.has(operator.operator_id));
    if (others.length > 1) {
      const host = make("div");
      grid(host, machineColumns, others.map((other) => ({ report: other, operator: other.byOperator.get(operator.operator_id) })),
        { label: `${operator.source_name} on every machine`, noun: "machines", key: (row) => row.report.label, sort: [3, -1] });
      parts.push(host);
    }
    return make("div", {}, ...parts);
  };
  const machineColumns = [
    { title: "machine", value: (r) => r.report.label, cell: (r) => r.report.label, opens: true },
    { title: "fused in", value: (r) => r.operator.subgraph.fusion_pattern, cell: (r) => r.operator.subgraph.fusion_pattern },
    { title: "bound by", value: (r) => r.operator.subgraph.bottleneck, cell: (r) => bound(r.operator.subgraph.bottleneck) },
    { title: "EDP", number: true, value: (r) => r.operator.edp_js, cell: (r) => quantity(r.operator.edp_js, "J*s") },
    { title: "of the model", number: true, value: (r) => r.operator.edp_js / r.report.edp_js, cell: (r) => percent(r.operator.edp_js / r.report.edp_js) },
    { title: "energy", number: true, value: (r) => r.operator.energy_j, cell: (r) => quantity(r.operator.energy_j, "J") },
    { title: "latency", number: true, value: (r) => r.operator.latency_s, cell: (r) => quantity(r.operator.latency_s, "s") },
    { title: "saved by fusion", number: true, value: (r) => r.operator.fusion_benefit, cell: (r) => quantity(r.operator.fusion_benefit, "J*s") },
  ];

  /** What one subgraph is made of: its components, and its operators. */
  const subgraphDetail = (report) => (subgraph) => {
    const parts = [["compute", subgraph.compute_edp], ["memory", subgraph.memory_edp], ["static", subgraph.static_edp], ["overhead", subgraph.overhead_edp]];
    const whole = parts.reduce((sum, [, value]) => sum + value, 0) || 1;
    const split = make("div", { class: "split", "aria-hidden": "true" }, ...parts.map(([name, value]) => {
      const piece = make("i", { class: name });
      piece.style.width = `${(100 * value) / whole}%`;
      return piece;
    }));
    const text = parts.map(([name, value]) => `${name} ${percent(value / whole)}`).join(", ");
    const facts = `Bound by ${subgraph.bottleneck} at ${percent(subgraph.utilization)} utilization, ${quantity(subgraph.energy_j, "J")}, `
      + `${quantity(subgraph.latency_s, "s")}. EDP by component: ${text}. On its own it would have ${quantity(subgraph.standalone_edp_js, "J*s")}; `
      + (subgraph.arithmetic_intensity === null ? "it touches no DRAM." : `${plain(subgraph.arithmetic_intensity)} FLOP per byte of DRAM.`);
    const host = make("div");
    const largest = Math.max(...subgraph.operators.map((o) => o.edp_js), 0);
    grid(host, [
      { title: "operator", opens: true, value: (o) => o.source_name, cell: (o) => o.source_name },
      { title: "type", wide: true, value: (o) => o.operator_type, cell: (o) => o.operator_type },
      { title: "of the subgraph", number: true, value: (o) => o.edp_js, cell: (o) => share(subgraph.edp_js ? o.edp_js / subgraph.edp_js : 0, largest / (subgraph.edp_js || 1)) },
      { title: "of the model", number: true, wide: true, value: (o) => o.edp_js, cell: (o) => percent(report.edp_js ? o.edp_js / report.edp_js : 0) },
      { title: "EDP", number: true, wide: true, value: (o) => o.edp_js, cell: (o) => quantity(o.edp_js, "J*s") },
      { title: "energy", number: true, wide: true, value: (o) => o.energy_j, cell: (o) => quantity(o.energy_j, "J") },
      { title: "latency", number: true, wide: true, value: (o) => o.latency_s, cell: (o) => quantity(o.latency_s, "s") },
      { title: "FLOPs", number: true, wide: true, value: (o) => o.flops, cell: (o) => quantity(o.flops, "FLOP") },
      { title: "modifier", number: true, wide: true, value: (o) => o.modelled_modifier, cell: (o) => plain(o.modelled_modifier) },
      { title: "saved by fusion", number: true, wide: true, value: (o) => o.fusion_benefit, cell: (o) => quantity(o.fusion_benefit, "J*s") },
    ], subgraph.operators, {
      label: `operators of ${subgraph.id}`, noun: subgraph.operators.length === 1 ? "operator" : "operators", key: (o) => o.operator_id,
      sort: [2, -1], detail: operatorDetail(report),
    });
    return make("div", {}, make("p", { class: "small" }, facts), split, host);
  };

  const subgraphTable = (host, report) => {
    const largest = Math.max(...report.subgraphs.map((s) => s.share), 0);
    const note = report.of > report.subgraphs.length ? `; the costliest of ${report.of}, the JSON has all` : "";
    return grid(host, [
      { title: "#", number: true, wide: true, value: (s) => -s.rank, cell: (s) => String(s.rank) },
      { title: "subgraph", opens: true, value: (s) => s.name, cell: (s) => make("span", {}, make("span", { class: "id" }, s.id), " ", s.name) },
      { title: "pattern", wide: true, value: (s) => s.fusion_pattern, cell: (s) => s.fusion_pattern },
      { title: "ops", number: true, wide: true, value: (s) => s.num_operators, cell: (s) => String(s.num_operators) },
      { title: `share of ${report.metric}`, number: true, value: (s) => s.share, cell: (s) => share(s.share, largest) },
      { title: "cumulative", number: true, wide: true, value: (s) => s.cumulative, cell: (s) => percent(s.cumulative) },
      { title: "EDP", number: true, wide: true, value: (s) => s.edp_js, cell: (s) => quantity(s.edp_js, "J*s") },
      { title: "energy", number: true, wide: true, value: (s) => s.energy_j, cell: (s) => quantity(s.energy_j, "J") },
      { title: "latency", number: true, value: (s) => s.latency_s, cell: (s) => quantity(s.latency_s, "s") },
      { title: "bound by", wide: true, value: (s) => s.bottleneck, cell: (s) => bound(s.bottleneck) },
      { title: "utilization", number: true, wide: true, value: (s) => s.utilization, cell: (s) => percent(s.utilization) },
    ], report.subgraphs, {
      label: "subgraphs", noun: "subgraphs", note, placeholder: "Filter by name, type or pattern", text: (s) => s.text, key: (s) => s.id,
      groups: { label: "bound by anything", of: (s) => s.bottleneck }, sort: [4, -1], limit: 25, detail: subgraphDetail(report),
    });
  };

  const typeTable = (host, report) => {
    const rows = report.types.map((row) => record(["name", "count", "fused", "flops", "energy_j", "latency_s", "edp_js"], row));
    const largest = Math.max(...rows.map((t) => t.edp_js), 0) / (report.edp_js || 1);
    grid(host, [
      { title: "type", opens: true, value: (t) => t.name, cell: (t) => t.name },
      { title: "count", number: true, value: (t) => t.count, cell: (t) => String(t.count) },
      { title: "fused", number: true, wide: true, value: (t) => t.fused, cell: (t) => String(t.fused) },
      { title: "share of EDP", number: true, value: (t) => t.edp_js, cell: (t) => share(report.edp_js ? t.edp_js / report.edp_js : 0, largest) },
      { title: "energy", number: true, value: (t) => t.energy_j, cell: (t) => quantity(t.energy_j, "J") },
      { title: "latency", number: true, value: (t) => t.latency_s, cell: (t) => quantity(t.latency_s, "s") },
    ], rows, { label: "operator types", noun: "types", key: (t) => t.name, sort: [3, -1], limit: 12 });
  };

  /** Operators that every report has, side by side. */
  const acrossTable = (host) => {
    const [first, ...others] = data.reports;
    const rows = [...first.byOperator.keys()].filter((id) => others.every((report) => report.byOperator.has(id)))
      .map((id) => ({ id, on: data.reports.map((report) => report.byOperator.get(id)) }));
    const part = (row, i) => (data.reports[i].edp_js ? row.on[i].edp_js / data.reports[i].edp_js : 0);
    const most = (row) => Math.max(...row.on.map((_, i) => part(row, i)));
    if (!rows.length) {
      host.append("The reports have no operators in common.");
      return;
    }
    grid(host, [
      { title: "operator", opens: true, value: (r) => r.on[0].source_name, cell: (r) => r.on[0].source_name },
      { title: "type", wide: true, value: (r) => r.on[0].operator_type, cell: (r) => r.on[0].operator_type },
      ...data.reports.map((report, i) => ({
        title: report.label, number: true, value: (r) => r.on[i].edp_js,
        cell: (r) => make("span", {}, quantity(r.on[i].edp_js, "J*s"), make("br"), make("span", { class: "small" }, `${percent(part(r, i))}${r.on[i].is_fused ? ", fused" : ""}`)),
      })),
      { title: "largest share", number: true, wide: true, value: most, cell: (r) => percent(most(r)) },
    ], rows, {
      label: "operators on every machine", noun: "operators", placeholder: "Filter operators", key: (r) => r.id, limit: 10, sort: [data.reports.length + 2, -1],
      text: (r) => `${r.on[0].source_name} ${r.on[0].operator_type}`.toLowerCase(), detail: (r) => operatorDetail(first)(r.on[0]),
    });
  };

  // --- plots --------------------------------------------------------------------------------------------------

  const views = new Map();
  const dark = () => document.documentElement.dataset.theme === "dark";

  const plot = async (host, plotted, clicked) => {
    const narrow = host.clientWidth < 480;
    const config = structuredClone(data.themes[dark() ? "dark" : "light"]);
    if (narrow) {
      config.axisY = { ...config.axisY, labelLimit: Math.round(host.clientWidth * 0.4) };
      config.legend = { ...config.legend, columns: 3 };
    }
    views.get(host)?.finalize();
    const made = await vegaEmbed(host, plotted.spec, {
      actions: false, renderer: "svg", ast: true, config, tooltip: { theme: dark() ? "dark" : "light" }, mode: "vega-lite",
    });
    views.set(host, made);
    made.view.addEventListener("click", (_, item) => { if (clicked && item?.datum?.id !== undefined) clicked(item.datum.id); });
  };

  const tables = new Map();
  const shown = { report: 0 };
  const drawPlots = async () => {
    for (const plotted of data.comparison) await plot(find(`#compare [data-plot="${plotted.name}"]`), plotted);
    const article = find(`[data-report="${shown.report}"]`);
    for (const plotted of data.reports[shown.report].plots) {
      await plot(find(`[data-plot="${plotted.name}"]`, article), plotted, (id) => tables.get(shown.report).open(id));
    }
    document.documentElement.dataset.ready = "true";
  };
  const show = async (number) => {
    shown.report = number;
    all(".report").forEach((article) => { article.hidden = Number(article.dataset.report) !== number; });
    const article = find(`[data-report="${number}"]`);
    if (!tables.has(number)) {
      tables.set(number, subgraphTable(find('[data-table="subgraphs"]', article), data.reports[number]));
      typeTable(find('[data-table="types"]', article), data.reports[number]);
    }
    const radio = find(`#tabs input[value="${number}"]`);
    if (radio) radio.checked = true;
    await drawPlots();
  };

  // --- light and dark -----------------------------------------------------------------------------------------

  const button = find("#theme");
  const paint = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(theme === "dark"));
  };
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  paint(preferred.matches ? "dark" : "light");
  preferred.addEventListener("change", async (event) => { paint(event.matches ? "dark" : "light"); await drawPlots(); });
  button.addEventListener("click", async () => { paint(dark() ? "light" : "dark"); await drawPlots(); });

  let before = null;
  addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; paint("light"); drawPlots(); });
  addEventListener("afterprint", () => { if (before) { paint(before); drawPlots(); } });

  all("#tabs input").forEach((radio) => radio.addEventListener("change", () => show(Number(radio.value))));
  all("[data-show]").forEach((link) => link.addEventListener("click", () => show(Number(link.dataset.show))));
  const across = find('[data-table="across"]');
  if (across) acrossTable(across);
  await show(0);
})();
