// One network of the map, or an upload: what the table says at once, what its weights say as soon as they are read.
import { ask, byId, make, number, percent, section, soft, trouble, waiting } from "/page/dom.js";
import { accuracyLine, answerStrip, confusionTable, filterSection, loadExamples, neighbourSection, tile } from "/page/parts.js";

const chips = ["dataset", "test_accuracy", "activation", "optimizer", "learning_rate", "epoch", "operation"];

export class NetworkPane {
  constructor(explorer) {
    this.explorer = explorer;
    this.panel = byId("network");
    this.empty();
  }

  empty() {
    this.key = null;
    this.panel.replaceChildren(make("div", { className: "hello" },
      make("h1", { textContent: "Pick a network" }),
      make("p", {}, "Every point of the map is a trained network; near ones are alike. Click one, or step through them with ",
        make("kbd", { textContent: "n" }), " and ", make("kbd", { textContent: "p" }), " on the map."),
      make("ul", {},
        make("li", { textContent: "See its answers, first filters, nearest networks and report here." }),
        make("li", { textContent: "Drag from a picked point to another, and decode the networks between them." }),
        make("li", { textContent: "Drop a checkpoint file anywhere: it lands on the map." }))));
  }

  async show(key) {
    this.key = key;
    this.stop?.abort();
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.panel.setAttribute("aria-busy", "true");
    try {
      this.about = await ask(`/api/networks/${key}`, { signal });
      this.weights = null;
      this.draw();
      this.weights = await ask(`/api/networks/${key}/weights`, { signal }).catch((error) => {
        if (error.name === "AbortError") throw error;
        return { error: error.message };
      });
      const { behaviour } = this.weights;
      this.examples = behaviour && !behaviour.error ? await loadExamples(key, behaviour.dataset) : null;
      if (this.key === key) this.draw();
    } catch (error) {
      if (error.name !== "AbortError" && this.key === key) this.panel.replaceChildren(trouble(error.message));
    } finally {
      if (this.key === key) this.panel.removeAttribute("aria-busy");
    }
  }

  draw() {
    if (!this.key || !this.about) return;
    const { about } = this;
    const open = (row) => this.explorer.openRow(row);
    const mix = (row) => this.explorer.pair(this.key, String(row));
    this.panel.replaceChildren(this.head(), ...this.body(), neighbourSection(about.neighbours, { open, mix }), this.properties());
    this.panel.dataset.shown = this.weights ? this.key : "";
  }

  head() {
    const { about } = this;
    const shown = chips.filter((name) => about.properties[name] !== undefined)
      .map((name) => make("li", {}, make("span", { className: "soft", textContent: name }), ` ${name === "test_accuracy" ? percent(about.properties[name]) : number(about.properties[name])}`));
    const lands = about.distance === undefined ? null : soft(landing(about));
    return make("div", { className: "title" }, make("h1", { textContent: about.id }), make("ul", { className: "chips" }, ...shown), lands,
      make("div", { className: "row" },
        make("button", { className: "main", textContent: "Decode from here", onclick: () => this.explorer.tab("decode") }),
        make("a", { className: "button", href: `/api/networks/${this.key}/report`, target: "_blank", rel: "noopener", textContent: "Full report" })));
  }

  body() {
    if (!this.weights) return [waiting("Reading its weights")];
    if (this.weights.error) return [section("Weights", trouble(this.weights.error))];
    const { behaviour, filters, report } = this.weights;
    const answers = behaviour.error
      ? section("Answers", trouble(behaviour.error))
      : section("Answers", accuracyLine(behaviour), answerStrip(behaviour, this.examples), confusionTable(behaviour));
    return [answers, filterSection(filters, this.panel.clientWidth - 40), reportSection(report)];
  }

  properties() {
    const names = Object.keys(this.about.properties);
    if (!names.length) return "";
    return make("details", {}, make("summary", { textContent: `All ${names.length} properties` }),
      make("dl", {}, ...names.flatMap((name) => [make("dt", { textContent: name }), make("dd", { textContent: number(this.about.properties[name]) })])));
  }
}

export function landing({ distance, usual }) {
  if (distance <= usual.within) return `It lies as near to the map's networks (${number(distance)}) as they lie to each other.`;
  return `It lies far from every network of the map (${number(distance)}; 99 in 100 have a neighbour within ${number(usual.within)}), so its place means little.`;
}

function reportSection(report) {
  if (report.error) return section("Report", trouble(report.error));
  const odd = report.anomalies.map((a) => make("li", {}, make("b", { textContent: a.kind }), ` ${a.where}: ${a.text}`));
  if (report.more_anomalies) odd.push(make("li", { className: "soft", textContent: `and ${report.more_anomalies} more in the full report` }));
  return section("Report",
    make("div", { className: "tiles" }, tile(number(report.weights), "weights"), tile(percent(report.understood), "understood"),
      tile(`${number(report.free_units)}`, `free of ${number(report.units)} units`), tile(number(report.dead + report.spare), "dead or twin units")),
    report.anomalies.length ? make("ul", { className: "odd" }, ...odd) : make("p", { className: "fine", textContent: "Nothing odd found." }));
}
