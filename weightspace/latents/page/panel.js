// What stands beside the map: legend, details of one checkpoint, the chosen ones.
const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function describe(data) {
  const rows = data.ids.length.toLocaleString("en");
  const left = data.left_out ? `, ${data.left_out.toLocaleString("en")} rows without a vector left out` : "";
  byId("title").textContent = data.title;
  byId("about").textContent = `${rows} checkpoints${left} · ${data.method} · ${data.encoder}`;
}

function fillColours(data, select) {
  const none = make("option", { value: "", textContent: "nothing" });
  select.replaceChildren(none, ...data.columns.filter((c) => c.kind !== "text").map((c) =>
    make("option", { value: c.name, disabled: c.constant, textContent: c.name + (c.constant ? " (all the same)" : "") })));
  select.value = data.colour ?? "";
}

// Names with their colours and counts, or the ramp of numbers.
function showLegend(column, theme, isolated, isolate) {
  const legend = byId("legend");
  legend.replaceChildren();
  if (!column) return;
  if (column.kind === "numbers") {
    const { least, most, log } = column.scale;
    const ramp = make("div", { id: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${theme.ramp.join(",")})`;
    const ends = make("div", { className: "ends" }, make("span", { textContent: numberText(least) }),
      make("span", { textContent: log ? "logarithmic" : "" }), make("span", { textContent: numberText(most) }));
    legend.append(ramp, ends);
    return;
  }
  const counts = (column.counts ??= column.values.reduce((sum, v) => (sum[v]++, sum), column.names.map(() => 0)));
  const shown = theme.names.length;
  const rest = counts.slice(shown).reduce((a, b) => a + b, 0);
  const line = (name, colour, count, rank) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = colour;
    const button = make("button", { onclick: () => isolate(rank), title: "show only these" }, dot,
      make("span", { className: "name", textContent: name }),
      make("span", { className: "soft number", textContent: count.toLocaleString("en") }));
    button.classList.toggle("off", isolated !== null && isolated !== rank);
    button.setAttribute("aria-pressed", String(isolated === rank));
    button.style.color = "inherit";
    return button;
  };
  column.names.slice(0, shown).forEach((name, k) => legend.append(line(name, theme.names[k], counts[k], k)));
  if (rest) legend.append(line(`${column.names.length - shown} others`, theme.faint, rest, shown));
}

// Id and properties of one row; what colours the map comes first.
function fillDetail(element, data, row, coloured) {
  const list = make("dl");
  const rank = (c) => (c === coloured ? 0 : 1);
  for (const column of [...data.columns].sort((a, b) => rank(a) - rank(b))) {
    const text = valueText(column, row);
    if (text === "(none)" || text === "" || column.name === "sha256" || text.endsWith(data.ids[row])) continue;
    const className = column === coloured ? "on" : "";
    list.append(make("dt", { textContent: column.name, className }), make("dd", { textContent: text, className }));
  }
  element.replaceChildren(make("div", { className: "id", textContent: data.ids[row] }), list);
  element.hidden = false;
}

function showTip(data, row, coloured, x, y) {
  const tip = byId("tip");
  if (row < 0) {
    tip.hidden = true;
    return;
  }
  fillDetail(tip, data, row, coloured);
  const list = tip.querySelector("dl");
  while (list.children.length > 16) list.lastChild.remove();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, x + 16 + width > innerWidth ? x - width - 12 : x + 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - height - 8))}px`;
}

function showChosen(data, rows) {
  byId("chosen").hidden = !rows.length;
  byId("count").textContent = `${rows.length.toLocaleString("en")} chosen`;
  byId("ids").replaceChildren(...rows.slice(0, 200).map((row) => make("li", { textContent: data.ids[row] })));
}

const chosenText = (data, rows) => rows.map((row) => data.ids[row]).join("\n") + "\n";

async function copyIds(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages opened from a file may not use the clipboard directly
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy ids"), 1200);
}

function downloadIds(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  make("a", { href: url, download: "ids.txt" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
