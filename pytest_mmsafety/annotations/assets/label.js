"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const annotator = at("annotator"), note = at("note"), choices = at("choices");
  let labels = new Map();  // item -> {answer, note, at}
  let history = [];        // items and what they had before
  let place = 0;
  let keeps = true;

  // What a browser keeps for a file is shared by all files of a folder in some: the key names this sample and person.
  const key = () => `mmsafety-labels/${data.run}/${data.sample}/${annotator.value.trim()}`;
  const last = `mmsafety-labels/${data.run}/${data.sample}`;

  const remember = (name, value) => {
    try {
      localStorage.setItem(name, value);
    } catch {
      keeps = false;
      at("memory").hidden = false;
    }
  };
  const recall = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      keeps = false;
      at("memory").hidden = false;
      return null;
    }
  };

  const save = () => {
    if (annotator.value.trim()) remember(key(), JSON.stringify([...labels]));
  };
  const load = () => {
    const known = new Set(data.items.map((each) => each.item));
    const allowed = new Set(data.choices.map((choice) => choice[1]));
    labels = new Map();
    history = [];
    try {
      for (const [item, label] of JSON.parse(recall(key()) || "[]")) {
        if (known.has(item) && allowed.has(label.answer)) labels.set(item, label);
      }
    } catch {
      // Nothing that this page wrote.
    }
    place = Math.max(0, data.items.findIndex((each) => !labels.has(each.item)));
  };

  const text = (id, value) => { at(id).textContent = value; };

  const toggleImages = () => document.body.classList.toggle("show-images");

  const frame = (number) => {
    const image = data.images[number];
    if (image.problem) {
      const missing = document.createElement("div");
      missing.className = "missing";
      missing.textContent = image.problem;
      return missing;
    }
    const box = document.createElement("div"), picture = document.createElement("img"), veil = document.createElement("span");
    box.className = "frame";
    picture.src = `data:image/webp;base64,${image.webp}`;
    picture.alt = image.name;
    veil.textContent = "Point here, tap, or press i";
    box.addEventListener("click", toggleImages);
    box.append(picture, veil);
    return box;
  };

  const show = () => {
    const item = data.items[place], label = labels.get(item.item);
    text("question", item.question);
    text("place", `${place + 1} of ${data.items.length}`);
    text("prompt", item.prompt);
    text("response", item.response || "(empty)");
    text("length", item.response.length > 1000 ? `${item.response.length.toLocaleString("en")} characters` : "");
    at("response").scrollTop = at("prompt").scrollTop = 0;
    at("images").replaceChildren(...item.images.map(frame));
    document.body.classList.remove("show-images");
    note.value = label?.note ?? "";
    for (const button of choices.children) {
      button.setAttribute("aria-pressed", String(label?.answer === button.dataset.answer));
    }
    at("previous").disabled = place === 0;
    at("next").disabled = place === data.items.length - 1;
    at("undo").disabled = history.length === 0;
    count();
  };

  const count = () => {
    const unsure = [...labels.values()].filter((label) => label.answer === "unsure").length;
    text("progress", `${labels.size} of ${data.items.length} labelled${unsure ? `, ${unsure} not sure` : ""}`);
    at("meter").setAttribute("aria-valuenow", String(labels.size));
    at("meter").firstElementChild.style.width = `${100 * labels.size / data.items.length}%`;
    at("download").disabled = labels.size === 0 || !annotator.value.trim();
    at("done").hidden = labels.size < data.items.length;
  };

  const named = () => {
    const given = Boolean(annotator.value.trim());
    annotator.closest("label").classList.toggle("missing", !given);
    if (!given) annotator.focus();
    return given;
  };

  const go = (to) => {
    place = Math.min(Math.max(to, 0), data.items.length - 1);
    show();
  };
  const nextOpen = () => {
    const order = [...data.items.keys()];
    const open = [...order.slice(place + 1), ...order.slice(0, place)].find((i) => !labels.has(data.items[i].item));
    go(open ?? place);
  };

  const answer = (value) => {
    if (!named()) return;
    const item = data.items[place].item;
    history.push([place, labels.get(item)]);
    labels.set(item, { answer: value, note: note.value, at: new Date().toISOString() });
    save();
    nextOpen();
  };
  const undo = () => {
    const step = history.pop();
    if (!step) return;
    const item = data.items[step[0]].item;
    if (step[1]) labels.set(item, step[1]); else labels.delete(item);
    save();
    go(step[0]);
  };

  const download = () => {
    if (!named()) return;
    const name = annotator.value.trim();
    const lines = data.items.filter((each) => labels.has(each.item)).map((each) => JSON.stringify({
      format: "mmsafety-label/1", run: data.run, sample: data.sample, item: each.item, annotator: name,
      ...labels.get(each.item),
    }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/x-ndjson" }));
    link.download = `labels-${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  for (const [hint, value, says] of data.choices) {
    const button = document.createElement("button"), shortcut = document.createElement("kbd");
    button.type = "button";
    button.dataset.answer = value;
    shortcut.textContent = hint;
    button.append(shortcut, says);
    button.addEventListener("click", () => answer(value));
    choices.append(button);
  }

  const keys = {
    ArrowLeft: () => go(place - 1),
    ArrowRight: () => go(place + 1),
    z: undo,
    Backspace: undo,
    i: toggleImages,
    m: () => note.focus(),
    g: nextOpen,
    ...Object.fromEntries(data.choices.map(([hint, value]) => [hint, () => answer(value)])),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input")) {
      if (event.key === "Escape" || event.key === "Enter") event.target.blur();
      return;
    }
    if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
    const does = Object.hasOwn(keys, event.key) ? keys[event.key] : keys[event.key.toLowerCase()];
    if (!does || event.repeat && !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    does();
  });

  annotator.addEventListener("change", () => {
    remember(last, annotator.value.trim());
    load();
    named();
    show();
  });
  note.addEventListener("change", () => {
    const label = labels.get(data.items[place].item);
    if (label) {
      labels.set(data.items[place].item, { ...label, note: note.value });
      save();
    }
  });
  at("previous").addEventListener("click", () => go(place - 1));
  at("next").addEventListener("click", () => go(place + 1));
  at("undo").addEventListener("click", undo);
  at("download").addEventListener("click", download);
  window.addEventListener("beforeunload", (event) => {
    if (!keeps && labels.size) event.preventDefault();
  });

  annotator.value = recall(last) ?? "";
  load();
  show();
  if (!annotator.value) annotator.focus();
})();
