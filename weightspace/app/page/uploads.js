// Checkpoints that are brought here: dropped anywhere, or chosen. They are looked at and not kept.
import { ask, byId, make, number, say, soft, trouble } from "/page/dom.js";
import { landing } from "/page/network.js";

export class UploadsPane {
  constructor(explorer, about) {
    this.explorer = explorer;
    this.panel = byId("uploads");
    this.most = about.most_bytes;
    this.found = about.uploads;
    this.notes = [];
    this.file = make("input", { type: "file", id: "file", multiple: true, accept: ".safetensors,.pt,.pth,.th,.bin,.ckpt", className: "unseen", tabIndex: -1, aria: { label: "Checkpoint files" } });
    this.file.addEventListener("change", () => { this.take([...this.file.files]); this.file.value = ""; });
    this.choose = make("button", { className: "main", id: "choose", textContent: "Choose files", onclick: () => this.file.click() });
    this.draw();
    this.listen(document);
  }

  // Files may be dropped on the pane and on the map.
  listen(target) {
    target.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
    target.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      this.take([...(event.dataTransfer?.files ?? [])]);
    });
  }

  async take(files) {
    if (!files.length) return;
    this.explorer.tab("uploads");
    for (const file of files) await this.bring(file);
  }

  async bring(file) {
    const note = { name: file.name, text: "Reading", busy: true };
    this.notes.unshift(note);
    this.draw();
    try {
      if (file.size > this.most) throw new Error(`${file.name} is larger than ${number(Math.floor(this.most / 2 ** 20))} MB, the most that is taken.`);
      const found = await ask(`/api/uploads?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      this.notes.splice(this.notes.indexOf(note), 1);
      this.found = [...this.found, found];
      say(`${found.id} is on the map.`);
      this.draw();
      if (this.explorer.open === "uploads") this.explorer.openUpload(found.key);
    } catch (error) {
      Object.assign(note, { text: error.message, busy: false });
      say(error.message);
      this.draw();
    }
  }

  draw() {
    const notes = this.notes.map((note) => note.busy
      ? make("li", {}, make("span", { className: "spin", aria: { hidden: "true" } }), ` ${note.text} ${note.name}`)
      : make("li", {}, trouble(note.text), make("button", { textContent: "Dismiss", onclick: () => { this.notes.splice(this.notes.indexOf(note), 1); this.draw(); } })));
    const found = [...this.found].reverse().map((one) => make("li", {},
      make("button", { className: "open", onclick: () => this.explorer.openUpload(one.key) }, make("span", { className: "name", textContent: one.id }), make("span", { className: "soft", textContent: landing(one) }))));
    this.panel.replaceChildren(
      make("h1", { textContent: "Bring a checkpoint" }),
      make("div", { className: "drop" }, make("p", { textContent: "Drop files anywhere on this page, or choose them." }), this.choose, this.file,
        soft(`safetensors, or PyTorch files with nothing but weights in them; up to ${number(Math.floor(this.most / 2 ** 20))} MB each. They are read apart from the explorer, placed on the map by the table's encoder, and not kept.`)),
      notes.length ? make("ul", { className: "notes" }, ...notes) : "",
      found.length ? make("ul", { className: "near" }, ...found) : "");
  }
}
