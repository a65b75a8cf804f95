// The explorer: which network is picked, which is mixed in, and what each pane shows of it.
import { ask, byId, make, say, trouble } from "/page/dom.js";
import { DecodePane } from "/page/decode.js";
import { MapBridge } from "/page/mapbridge.js";
import { NetworkPane } from "/page/network.js";
import { UploadsPane } from "/page/uploads.js";

const tabs = ["network", "decode", "uploads"];

class Explorer {
  constructor(about) {
    Object.assign(this, { base: null, other: null, picking: false, quiet: false, open: "network" });
    document.title = `${about.title}: weightspace explorer`;
    this.network = new NetworkPane(this);
    this.decode = new DecodePane(this);
    this.uploads = new UploadsPane(this, about);
    this.map = new MapBridge(byId("map"));
    this.map.onPick = (row) => this.picked(row);
    this.map.onPair = (row) => this.pair(this.base, String(row));
    this.map.onShare = (share) => this.decode.setShare(share);
    this.map.onUpload = (key) => this.openUpload(key);
    this.map.onTheme = (name) => this.theme(name);
    this.listenTabs();
  }

  async start() {
    try {
      await this.map.ready();
      byId("mapstate").hidden = true;
      this.uploads.listen(this.map.document);
      this.drawPath();
    } catch (error) {
      byId("mapstate").replaceChildren(trouble(`The map cannot be drawn: ${error.message}`));
    }
  }

  theme(name) {
    document.documentElement.dataset.theme = name;
    this.network.draw();
    this.decode.draw();
  }

  // ---- what is picked
  name(key) {
    const upload = this.uploads.found.find((one) => one.key === key);
    return upload ? upload.id : this.map.map.data.ids[Number(key)];
  }

  place(key) {
    const upload = this.uploads.found.find((one) => one.key === key);
    return upload ? upload.place : this.map.place(Number(key));
  }

  picked(row) {
    if (this.quiet) return;
    if (row === null) return this.select(null);
    if (this.picking && this.base !== null && String(row) !== this.base) return this.pair(this.base, String(row));
    this.select(String(row));
  }

  openRow(row) { this.map.pin(row); }

  openUpload(key) {
    this.pinQuietly(-1);
    this.select(key);
    this.tab("network");
  }

  pinQuietly(row) {
    this.quiet = true;
    this.map.pin(row);
    this.quiet = false;
  }

  select(key) {
    [this.base, this.other, this.picking] = [key, null, false];
    if (key === null) this.network.empty();
    else this.network.show(key);
    if (this.open === "uploads" && key !== null) this.tab("network");
    if (this.open === "decode" || key === null) this.decode.show(key, null);
    this.drawPath();
  }

  // Decode what lies between two networks; with no other, from one alone.
  pair(base, other) {
    [this.base, this.other, this.picking] = [base, other, false];
    this.pinQuietly(/^\d+$/.test(base) ? Number(base) : -1);
    if (other !== null) say(`Decoding between ${this.name(base)} and ${this.name(other)}.`);
    this.tab("decode");
  }

  pick() {
    this.picking = !this.picking;
    this.decode.layout();
    this.decode.draw();
    if (this.picking) {
      say("Pick the second network on the map: click one, or step with n and p.");
      this.map.map.over.focus();
    } else byId("pick").focus();
  }

  drawPath() {
    if (!this.map.map) return;
    const { shown, share } = this.decode;
    const live = this.open === "decode" && this.decode.base === this.base && shown;
    this.map.path = this.base === null ? null : {
      base: this.place(this.base),
      other: this.other === null ? null : this.place(this.other),
      share: this.other === null ? 0 : share,
      place: live ? shown.place : null,
    };
    this.map.uploads = this.uploads.found.map((one) => ({ ...one, chosen: one.key === this.base }));
    this.map.redraw();
  }

  // ---- tabs
  listenTabs() {
    for (const name of tabs) byId(`tab-${name}`).addEventListener("click", () => this.tab(name));
    document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = { Home: 0, End: tabs.length - 1 }[event.key] ?? (by ? (tabs.indexOf(this.open) + by + tabs.length) % tabs.length : null);
      if (at === null) return;
      event.preventDefault();
      this.tab(tabs[at]);
      byId(`tab-${tabs[at]}`).focus();
    });
  }

  tab(name) {
    this.open = name;
    for (const one of tabs) {
      const on = one === name;
      byId(one).hidden = !on;
      byId(`tab-${one}`).setAttribute("aria-selected", String(on));
      byId(`tab-${one}`).tabIndex = on ? 0 : -1;
    }
    if (name === "network") this.network.draw();
    if (name === "decode") this.decode.show(this.base, this.other);
    this.drawPath();
  }
}

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
try {
  const explorer = new Explorer(await ask("/api/about"));
  globalThis.explorer = explorer;
  await explorer.start();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
} catch (error) {
  byId("mapstate").hidden = true;
  byId("network").replaceChildren(make("h1", { textContent: "The explorer cannot begin" }), trouble(error.message));
}
