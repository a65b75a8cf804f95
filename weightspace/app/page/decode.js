// Between two networks and along probes: every move of a slider is decoded into a network and shown.
import { ask, byId, download, make, number, percent, post, say, section, soft, trouble, waiting } from "/page/dom.js";
import { answerStrip, confusionTable, filterSection, loadExamples } from "/page/parts.js";

const steps = 200; // of a slider
const value = (slider, read) => number(slider.logarithmic ? 10 ** read : read);

export class DecodePane {
  constructor(explorer) {
    this.explorer = explorer;
    this.panel = byId("decode");
    this.wanted = {};
    this.share = 0.5;
    this.out = make("div", { id: "outcome" });
  }

  async load() {
    if (this.sliders) return true;
    this.panel.replaceChildren(waiting("Loading the decoder and its sliders"));
    try {
      Object.assign(this, await ask("/api/decoder"));
      return true;
    } catch (error) {
      this.panel.replaceChildren(make("h1", { textContent: "Nothing to decode with" }), trouble(error.message));
      return false;
    }
  }

  // Show the sliders for a network, alone or with another; start from its own latent.
  async show(base, other) {
    if (base !== this.base || other !== this.other) [this.wanted, this.share, this.shown] = [{}, 0.5, null];
    [this.base, this.other] = [base, other];
    if (!(await this.load())) return;
    if (base === null) {
      this.panel.replaceChildren(make("div", { className: "hello" }, make("h1", { textContent: "Decode live" }),
        make("p", { textContent: "Pick a network on the map. Its latent is decoded into a new network, and again with every move of a slider." })));
      return;
    }
    this.layout();
    this.change();
  }

  layout() {
    this.rows = this.sliders.map((slider) => this.sliderRow(slider));
    const empty = soft("No property of this table can be read off held-out networks well enough to steer by.");
    this.panel.replaceChildren(this.ends(), this.out,
      section("Steer", ...(this.rows.length ? [soft("Set what a probe reads; the rest follows as it does among known networks."), ...this.rows.map((row) => row.element)] : [empty])),
      make("div", { className: "row" },
        make("button", { className: "main", id: "download", textContent: "Download this network", onclick: () => this.download() }),
        make("button", { textContent: "Start over", onclick: () => this.reset() })),
      this.more = make("div", { className: "more" }));
    this.out.replaceChildren(waiting("Decoding"));
  }

  ends() {
    const { explorer, base, other } = this;
    const pick = make("button", { id: "pick", textContent: explorer.picking ? "Click a second network on the map" : other === null ? "Mix with another" : "Pick another", onclick: () => explorer.pick() });
    pick.setAttribute("aria-pressed", String(explorer.picking));
    const from = make("div", { className: "ends-of" }, make("span", { className: "end a", textContent: "A" }), make("span", { className: "name", textContent: explorer.name(base) }));
    if (other === null) return make("div", { className: "title" }, from, make("div", { className: "row" }, pick));
    const to = make("div", { className: "ends-of" }, make("span", { className: "end b", textContent: "B" }), make("span", { className: "name", textContent: explorer.name(other) }));
    this.mix = make("input", { type: "range", id: "mix", min: 0, max: steps, value: this.share * steps, oninput: () => this.setShare(this.mix.value / steps), aria: { label: "Share of B" } });
    this.mixed = make("output", { className: "number" });
    return make("div", { className: "title" }, from, to,
      make("div", { className: "slide" }, make("span", { className: "soft", textContent: "A" }), this.mix, make("span", { className: "soft", textContent: "B" }), this.mixed),
      make("div", { className: "row" }, pick, make("button", { textContent: "A alone", onclick: () => explorer.pair(base, null) })));
  }

  setShare(share) {
    this.share = share;
    if (this.mix) this.mix.value = share * steps;
    this.change();
  }

  sliderRow(slider) {
    const id = `slider-${slider.column}`;
    const input = make("input", { type: "range", id, min: slider.low, max: slider.high, step: (slider.high - slider.low) / steps });
    const read = make("output", { className: "number", htmlFor: id });
    const free = make("button", { className: "free", textContent: "×", title: "let it follow", hidden: true, aria: { label: `Let ${slider.column} follow` } });
    const element = make("div", { className: "slider" },
      make("label", { htmlFor: id }, slider.column, make("span", { className: "soft", textContent: ` R² ${slider.score.toFixed(2)}`, title: "how well a linear probe reads it off runs that it was not fitted to" })),
      read, free, input);
    input.addEventListener("input", () => { this.wanted[slider.column] = Number(input.value); this.change(); });
    free.addEventListener("click", () => { delete this.wanted[slider.column]; input.focus(); this.change(); });
    return { slider, input, read, free, element };
  }

  wish() { return { base: this.base, other: this.other, share: this.other === null ? 0 : this.share, wanted: this.wanted }; }

  reset() {
    [this.wanted, this.share] = [{}, 0.5];
    if (this.mix) this.mix.value = steps / 2;
    this.change();
  }

  // One request at a time; what was asked meanwhile is asked next, and only the last of it.
  async change() {
    this.moved = performance.now();
    if (this.mixed) this.mixed.textContent = `${Math.round(100 * this.share)} % B`;
    this.explorer.drawPath();
    this.pending = true;
    if (this.running) return;
    this.running = true;
    while (this.pending) {
      this.pending = false;
      const [wish, since] = [this.wish(), this.moved];
      try {
        const shown = await post("/api/decode", wish);
        if (wish.base !== this.base || wish.other !== this.other) continue;
        this.shown = shown;
        this.examples = shown.behaviour.error ? null : await loadExamples(this.base, shown.behaviour.dataset);
        this.draw();
        this.explorer.drawPath();
        requestAnimationFrame(() => setTimeout(() => Object.assign(this.panel.dataset, { lag: performance.now() - since, decoded: Number(this.panel.dataset.decoded ?? 0) + 1 })));
      } catch (error) {
        if (wish.base === this.base) this.out.replaceChildren(trouble(error.message));
      }
    }
    this.running = false;
  }

  draw() {
    const { shown } = this;
    if (!shown) return;
    for (const { slider, input, read, free } of this.rows) {
      const own = slider.column in this.wanted;
      const reads = shown.readings[slider.column];
      if (!own) input.value = reads;
      input.classList.toggle("set", own);
      input.setAttribute("aria-valuetext", value(slider, reads));
      read.textContent = value(slider, reads);
      free.hidden = !own;
    }
    this.out.replaceChildren(...outcome(shown));
    const { behaviour } = shown;
    const answers = behaviour.error ? section("Answers", trouble(behaviour.error)) : section("Answers", answerStrip(behaviour, this.examples), confusionTable(behaviour));
    this.more.replaceChildren(filterSection(shown.filters, this.panel.clientWidth - 40), answers);
  }

  async download() {
    try {
      download(await post("/api/decoded", this.wish()), "decoded.safetensors");
      say("The decoded network was downloaded.");
    } catch (error) {
      this.out.replaceChildren(trouble(error.message));
    }
  }
}

function outcome({ behaviour, nearest, usual, like, milliseconds }) {
  const far = nearest.distance > usual.within ? trouble(`Far from every known network (${number(nearest.distance)}; 99 in 100 have a neighbour within ${number(usual.within)}): expect less of it.`) : null;
  const foot = soft(`Built like ${like}, decoded in ${Math.round(milliseconds)} ms. Nearest known: ${nearest.id}.`);
  if (behaviour.error) return [trouble(behaviour.error), far, foot].filter(Boolean);
  const lines = [meter("decoded", behaviour.accuracy, "good")];
  if (behaviour.base_accuracy !== undefined) lines.push(meter("A itself", behaviour.base_accuracy, "plain"), meter("answers like A", behaviour.agreement, "plain"));
  return [make("div", { className: "meters", aria: { role: "group", label: `On ${behaviour.inputs} test inputs of ${behaviour.dataset}` } }, ...lines), far, foot].filter(Boolean);
}

function meter(name, share, kind) {
  const bar = make("span", { className: `bar ${kind}`, aria: { hidden: "true" } });
  bar.style.setProperty("--share", `${100 * share}%`);
  return make("div", { className: `meter ${kind}` }, make("span", { textContent: name }), bar, make("b", { className: "number", textContent: percent(share) }));
}
