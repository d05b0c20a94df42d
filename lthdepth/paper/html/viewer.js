(async () => {
  const root = document.currentScript.closest(".viewer"), find = name => root.querySelector(".viewer-" + name);
  const data = JSON.parse(find("data").textContent), stage = find("stage"), canvas = find("canvas"), cross = find("cross");
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const ramps = {depth: bytes(data.depth), error: bytes(data.error)};

  // A sheet's grey values as metres; a sheet of one map stands for every frame.
  async function unpack(sheet) {
    const image = new Image();
    image.src = sheet.picture;
    await image.decode();
    const rows = sheet.height * sheet.n, sketch = new OffscreenCanvas(sheet.width, rows).getContext("2d", {willReadFrequently: true});
    sketch.drawImage(image, 0, 0);
    const grey = sketch.getImageData(0, 0, sheet.width, rows).data;
    sheet.metres = Float32Array.from({length: sheet.width * rows}, (_, i) => sheet.low + grey[4 * i] * (sheet.high - sheet.low) / 255);
  }
  await Promise.all(Object.values(data.layers).map(unpack));

  // Depth at a place (x, y in 0..1) of a frame, bilinear between pixel centres.
  function at(name, frame, x, y) {
    const s = data.layers[name], start = Math.min(frame, s.n - 1) * s.height * s.width;
    const u = Math.min(Math.max(x * s.width - 0.5, 0), s.width - 1), v = Math.min(Math.max(y * s.height - 0.5, 0), s.height - 1);
    const i = Math.floor(u), j = Math.floor(v), k = Math.min(i + 1, s.width - 1), l = Math.min(j + 1, s.height - 1);
    const row = j2 => s.metres[start + j2 * s.width + i] * (1 - u + i) + s.metres[start + j2 * s.width + k] * (u - i);
    return row(j) * (1 - v + j) + row(l) * (v - j);
  }

  const truth = data.layers.truth, names = Object.keys(data.layers), dense = names[0], others = names.slice(1, -1);
  canvas.width = 3 * truth.width;
  canvas.height = 3 * truth.height;
  // "one-shot magnitude 1.8 %" is the arm "one-shot magnitude" with 1.8 % of its weights; other names are an arm by themselves.
  const arms = new Map();
  for (const name of others) {
    const [, arm, percent] = name.match(/^(.*?)(?: ([\d.]+) %)?$/);
    arms.set(arm, [...(arms.get(arm) || []), {name, percent: Number(percent)}].sort((a, b) => b.percent - a.percent));
  }
  for (const [i, frame] of data.frames.entries()) find("frame").add(new Option(frame.name, i));
  for (const arm of arms.keys()) find("arm").add(new Option(arm, arm));
  find("arm").selectedIndex = Math.max([...arms.values()].findIndex(levels => levels[0].percent), 0);
  find("arm").parentElement.hidden = !arms.size;

  const state = {borders: arms.size ? [1 / 3, 2 / 3] : [1 / 2, 1 / 2], x: 0.5, y: 0.5, shown: []};
  const handles = [...root.querySelectorAll(".viewer-handle")];
  handles[1].hidden = !arms.size;

  function rms(name, frame) {
    let sum = 0, n = 0;
    for (let j = 0; j < truth.height; j++) for (let i = 0; i < truth.width; i++) {
      const x = (i + 0.5) / truth.width, y = (j + 0.5) / truth.height, t = at("truth", frame, x, y);
      if (t > 0) { sum += (at(name, frame, x, y) - t) ** 2; n++; }
    }
    return Math.sqrt(sum / n);
  }

  function choose() {
    const levels = arms.get(find("arm").value) || [], slider = find("density");
    slider.max = Math.max(levels.length - 1, 0);
    const level = levels[Math.min(slider.value, slider.max)];
    find("level").hidden = levels.length < 2;
    find("percent").textContent = level && level.percent ? `${level.percent} %` : "";
    slider.setAttribute("aria-valuetext", find("percent").textContent);
    const frame = Number(find("frame").value), photo = find("photo");
    photo.src = data.frames[frame].photo;
    photo.alt = `Photo: ${data.frames[frame].name}`;
    state.shown = [dense, ...(level ? [level.name] : []), "truth"];
    state.rms = state.shown.map(name => name === "truth" ? null : rms(name, frame));
    paint();
  }

  function paint() {
    const frame = Number(find("frame").value), error = find("mode").value === "error", ramp = ramps[error ? "error" : "depth"];
    const pen = canvas.getContext("2d"), picture = pen.createImageData(canvas.width, canvas.height), reach = 1.5;
    const edges = state.shown.length < 3 ? [state.borders[0]] : state.borders;
    for (let i = 0; i < canvas.width; i++) {
      const x = (i + 0.5) / canvas.width, name = state.shown[edges.filter(edge => x > edge).length];
      for (let j = 0; j < canvas.height; j++) {
        const y = (j + 0.5) / canvas.height, t = at("truth", frame, x, y), p = at(name, frame, x, y);
        // Where the truth is unknown (0) there is no error to show, and no true depth: black.
        const known = t > 0 || (!error && name !== "truth");
        const share = error ? (p - t) / reach / 2 + 0.5 : p / data.top;
        const k = 3 * Math.min(Math.max(Math.round(255 * share), 0), 255), at4 = 4 * (j * canvas.width + i);
        for (let c = 0; c < 3; c++) picture.data[at4 + c] = known ? ramp[k + c] : 0;
        picture.data[at4 + 3] = 255;
      }
    }
    pen.putImageData(picture, 0, 0);
    const strip = find("ramp").getContext("2d"), line = strip.createImageData(256, 1);
    for (let k = 0; k < 256; k++) line.data.set([...ramp.subarray(3 * k, 3 * k + 3), 255], 4 * k);
    strip.putImageData(line, 0, 0);
    find("low").textContent = error ? `−${reach} m, too near` : "0 m";
    find("high").textContent = error ? `+${reach} m, too far` : `${data.top} m and more`;
    find("names").replaceChildren(...state.shown.map((name, i) => {
      const tag = document.createElement("span"), from = i ? edges[i - 1] : 0, to = i < edges.length ? edges[i] : 1;
      tag.textContent = name;
      tag.style.left = `${50 * (from + to)}%`;
      tag.hidden = to - from < 0.12;
      return tag;
    }));
    handles.forEach((handle, i) => {
      handle.style.left = `${100 * state.borders[i]}%`;
      handle.setAttribute("aria-valuenow", Math.round(100 * state.borders[i]));
    });
    read();
  }

  function read(say) {
    const frame = Number(find("frame").value), t = at("truth", frame, state.x, state.y), metres = value => value.toFixed(2).replace("-", "−");
    cross.style.left = `${100 * state.x}%`;
    cross.style.top = `${100 * state.y}%`;
    const rows = state.shown.map((name, i) => {
      const p = at(name, frame, state.x, state.y), known = t > 0;
      if (name === "truth") return [name, known ? metres(t) : "unknown", "", ""];
      return [name, metres(p), known ? (p > t ? "+" : "") + metres(p - t) : "unknown", metres(state.rms[i])];
    });
    find("table").tBodies[0].replaceChildren(...rows.map(cells => {
      const row = document.createElement("tr");
      row.append(...cells.map(text => Object.assign(document.createElement("td"), {textContent: text})));
      return row;
    }));
    find("where").textContent = `Under the crosshair, ${Math.round(100 * state.x)} % from the left, ${Math.round(100 * state.y)} % from the top`;
    if (say) find("said").textContent = rows.map(([name, depth, error]) => `${name} ${depth} metres${error ? `, error ${error}` : ""}`).join("; ");
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
  }
  // A border pushes the other along: where both stand on one place only one can be grabbed.
  function move(i, value) {
    const b = state.borders;
    b[i] = clamp(value, 0, 1);
    if (arms.size) b[1 - i] = i ? Math.min(b[0], b[1]) : Math.max(b[0], b[1]);
    paint();
  }
  let due = false; // one repaint a frame is enough, however fast the pointer moves
  const later = work => { if (!due) { due = true; requestAnimationFrame(() => { due = false; work(); }); } };
  for (const name of ["pointermove", "pointerdown"]) canvas.addEventListener(name, event => { [state.x, state.y] = place(event); read(); });
  handles.forEach((handle, i) => {
    handle.addEventListener("pointerdown", event => { handle.setPointerCapture(event.pointerId); event.preventDefault(); handle.focus(); });
    handle.addEventListener("pointermove", event => {
      if (handle.hasPointerCapture(event.pointerId)) { const [x] = place(event); later(() => move(i, x)); }
    });
    handle.addEventListener("keydown", event => {
      const step = {ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1}[event.key];
      if (step) { event.preventDefault(); move(i, state.borders[i] + step); }
    });
  });
  canvas.addEventListener("keydown", event => {
    const [dx, dy] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] || [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const step = event.shiftKey ? 0.1 : 0.01;
    state.x = clamp(state.x + step * dx, 0, 1);
    state.y = clamp(state.y + step * dy, 0, 1);
    read(true);
  });
  for (const name of ["frame", "arm", "mode"]) find(name).addEventListener("change", choose);
  find("density").addEventListener("input", choose);
  root.hidden = false;
  choose();
})();
