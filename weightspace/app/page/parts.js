// What both the network pane and the decoded one show: answers, confusion, filters, neighbours.
import { ask, make, number, percent, section, soft, trouble } from "/page/dom.js";
import { examplePicture, filterSheet } from "/page/pictures.js";

const cells = 20; // classes up to which a table is drawn
const known = new Map(); // examples by dataset

export async function loadExamples(key, dataset) {
  if (!known.has(dataset)) known.set(dataset, ask(`/api/networks/${key}/examples`).catch(() => null));
  return known.get(dataset);
}

export function accuracyLine(behaviour) {
  const part = behaviour.inputs === behaviour.of ? `all ${number(behaviour.of)}` : `${number(behaviour.inputs)} of ${number(behaviour.of)}`;
  return make("div", { className: "figure" },
    make("b", { className: "number", textContent: percent(behaviour.accuracy) }),
    make("span", { className: "soft", textContent: `right of ${part} test inputs of ${behaviour.dataset}` }));
}

export function confusionTable(behaviour) {
  const { confusion, confused } = behaviour;
  const said = confused.length
    ? "Most confused: " + confused.map(([truth, answer, count]) => `${truth} taken for ${answer} (${count}×)`).join(", ") + "."
    : "Nothing is confused.";
  const block = make("div", { className: "confusing" });
  if (confusion.length <= cells) {
    const head = make("tr", {}, make("th", { textContent: "true", title: "rows: true class, columns: answer" }),
      ...confusion.map((_, k) => make("th", { scope: "col", textContent: k })));
    const rows = confusion.map((counts, truth) => {
      const total = counts.reduce((a, b) => a + b, 0) || 1;
      return make("tr", {}, make("th", { scope: "row", textContent: truth }), ...counts.map((count, answer) => {
        const cell = make("td", { textContent: count || "", title: `${count} of ${total}: ${truth} answered as ${answer}` });
        cell.className = truth === answer ? "right" : "wrong";
        cell.style.setProperty("--share", `${Math.round(100 * (truth === answer ? count / total : Math.sqrt(count / total)))}%`);
        return cell;
      }));
    });
    const caption = make("caption", { className: "unseen", textContent: "Confusion matrix: a row a true class, a column an answer" });
    block.append(make("table", { className: confusion.length > 12 ? "confusion tight" : "confusion" }, caption,
      make("thead", {}, head), make("tbody", {}, ...rows)));
  }
  block.append(soft(said));
  return block;
}

export function answerStrip(behaviour, examples) {
  if (!examples?.pixels) return null;
  const list = make("ul", { className: "answers", aria: { label: "Single answers" } });
  behaviour.answers.forEach(({ said, sure }, i) => {
    const truth = examples.truth[i];
    const right = said === truth;
    const about = `${truth} answered as ${said}, ${Math.round(100 * sure)} % sure`;
    list.append(make("li", { className: right ? "right" : "wrong", title: about }, examplePicture(examples, i),
      make("span", { className: "number", textContent: right ? said : `${said} ✗`, aria: { hidden: "true" } }),
      make("span", { className: "unseen", textContent: about })));
  });
  return list;
}

export function filterSection(filters, room) {
  if (filters.error) return section("First filters", trouble(filters.error));
  const shown = filters.kind === "matrix" ? `${number(filters.units)} units as one matrix` : filters.shown < filters.units ? `${filters.shown} of ${number(filters.units)} units` : `${filters.units} units`;
  const mean = filters.averaged > 1 ? `, mean over ${filters.averaged} inputs` : "";
  const key = filters.kind === "colour" ? "" : make("span", { className: "key" }, make("i", { className: "low" }), `-${number(filters.largest)}`,
    make("i", { className: "high" }), number(filters.largest));
  return section("First filters", filterSheet(filters, room), make("p", { className: "soft ends" }, `${filters.tensor}, ${shown}${mean}`, key));
}

// Nearest rows: a click shows one, "mix" starts between the two.
export function neighbourSection(rows, { open, mix }) {
  if (!rows.length) return section("Nearest on the map", soft("no other network"));
  const most = Math.max(...rows.map((row) => row.distance)) || 1;
  return section("Nearest on the map", make("ol", { className: "near" }, ...rows.map((row) => {
    const about = [row.test_accuracy !== undefined ? percent(row.test_accuracy) : null, row.dataset, row.activation].filter(Boolean).join(" · ");
    const bar = make("span", { className: "bar", aria: { hidden: "true" } });
    bar.style.setProperty("--share", `${(100 * row.distance) / most}%`);
    return make("li", {},
      make("button", { className: "open", onclick: () => open(row.row) }, make("span", { className: "name", textContent: row.id }),
        make("span", { className: "soft", textContent: about }), bar),
      make("span", { className: "number soft", textContent: number(row.distance), title: "distance of the latents" }),
      mix ? make("button", { textContent: "Mix", title: "decode what lies between", onclick: () => mix(row.row), aria: { label: `Mix with ${row.id}` } }) : null);
  })));
}

export function tile(value, text) {
  return make("div", { className: "tile" }, make("b", { className: "number", textContent: value }), make("span", { textContent: text }));
}
