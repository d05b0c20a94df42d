// The verdict under other settings: what lthdepth/analysis computes with scipy, computed here.
(() => {
  const root = document.currentScript.closest(".trial"), form = root.querySelector("form"), body = root.querySelector("tbody");
  const data = JSON.parse(root.querySelector("script").textContent);
  const mean = d => d.reduce((sum, x) => sum + x, 0) / d.length;
  const error = d => Math.sqrt(d.reduce((sum, x) => sum + (x - mean(d)) ** 2, 0) / (d.length - 1) / d.length);

  // Regularised incomplete beta function I_x(a, b) by its continued fraction (Lentz), given B(a, b).
  function beta(x, a, b, whole) {
    if (x <= 0) return 0;
    if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a, whole);
    let c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), value = d;
    for (let m = 1; m < 500; m++) {
      for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
        -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
        d = 1 / (1 + term * d);
        c = 1 + term / c;
        value *= c * d;
      }
      if (Math.abs(c * d - 1) < 1e-15) break;
    }
    return value * x ** a * (1 - x) ** b / a / whole;
  }

  // Student's t: P(T < t). B(n / 2, 1 / 2) follows from B(1 / 2, 1 / 2) = π or B(1, 1 / 2) = 2.
  function cdf(t, n) {
    let whole = n % 2 ? Math.PI : 2;
    for (let a = n % 2 ? 0.5 : 1; a < n / 2; a++) whole *= a / (a + 0.5);
    const tail = t * t < n ? (1 - beta(t * t / (n + t * t), 0.5, n / 2, whole)) / 2 : beta(n / (n + t * t), n / 2, 0.5, whole) / 2;
    return t > 0 ? 1 - tail : tail;
  }

  // The t below which a share of 1/2 or more lies, by bisection.
  function quantile(share, n) {
    let low = 0, high = 1e6;
    for (let k = 0; k < 200; k++) {
      const middle = (low + high) / 2;
      if (cdf(-middle, n) > 1 - share) low = middle; else high = middle;
    }
    return (low + high) / 2;
  }

  function interval(d) {
    if (d.length < 2) return [NaN, NaN];
    const half = quantile(0.975, d.length - 1) * error(d);
    return [mean(d) - half, mean(d) + half];
  }

  function nonInferiority(d, margin) {
    const off = mean(d) - margin;
    return error(d) === 0 ? (off < 0 ? 0 : 1) : cdf(off / error(d), d.length - 1);
  }

  function holm(p) {
    const order = p.map((_, i) => i).sort((i, j) => p[i] - p[j]), adjusted = [];
    let most = 0;
    order.forEach((i, k) => { adjusted[i] = most = Math.max(most, Math.min(1, p[i] * (p.length - k))); });
    return adjusted;
  }

  // Where a curve of losses first exceeds the margin, from dense down, interpolated on log density; 0: nowhere.
  function crossing(densities, losses, margin) {
    const x = [0, ...densities.map(Math.log)], y = [0, ...losses], k = y.findIndex(loss => loss > margin);
    if (k < 0) return 0;
    if (k === 0) return 1;
    const slope = (x[k] - x[k - 1]) / (y[k] - y[k - 1]), value = slope * (margin - y[k - 1]) + x[k - 1];
    return Math.exp(Number.isNaN(value) ? slope * (margin - y[k]) + x[k] : value);
  }

  const percent = share => `${(100 * share).toFixed(2)} %`, metres = value => Math.abs(value).toFixed(3);
  const signed = value => (value < 0 && Number(metres(value)) ? "-" : "+") + metres(value);
  const range = (low, high) => Number.isNaN(low) ? "–" : `${signed(low)} to ${signed(high)}`;
  const small = p => Number.isNaN(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3);

  // A break-even density beyond the levels is not known.
  function level(value, densities) {
    const three = share => `${Number((100 * share).toPrecision(3))} %`;
    if (!value) return `below ${three(densities.at(-1))}`;
    return value > densities[0] && value < 1 ? `above ${three(densities[0])}` : three(value);
  }

  function breakEven(all, margin, whole) {
    const shared = all.filter(t => data.levels.some(k => Math.abs(t.density / k - 1) < 1e-5));
    const levels = shared.length > 1 ? shared : all;
    if (levels.length < 2 || whole) return "";
    const d = levels.map(t => t.values), densities = levels.map(t => t.density), least = Math.min(...d.map(v => v.length));
    const bounds = d.map(v => v.length > 1 ? interval(v) : [-Infinity, Infinity]);
    const [value, low, high] = [d.map(mean), bounds.map(b => b[0]), bounds.map(b => b[1])]
      .map(curve => level(crossing(densities, curve, margin), densities));
    const text = `: breaks even ${/^\d/.test(value) ? "at " : ""}${value}`;
    return least < 2 ? text : `${text}, 95 % interval ${low === high ? low : low + " to " + high}`;
  }

  function outcome(t, margin) {
    if (t.values.length < data.pairs) return "too few";
    if (Number.isNaN(t.p)) return "–";
    return t.p < data.alpha ? "non-inferior" : t.low > margin ? "worse" : "not shown";
  }

  // What follows for the primary endpoint that passes: is a ticket needed, and do the places matter?
  function beside(chosen, tickets) {
    const controls = data.controls.map(arm => tickets.find(t => t.arm === arm && t.density === chosen.density)).filter(t => t);
    const passing = controls.filter(t => t.p < data.alpha).map(t => t.name);
    if (passing.length) return data.said["control passes"].replace("{kept}", percent(chosen.density)).replace("{controls}", passing.join(" and "));
    const better = controls.map(t => [...t.loss].filter(([s]) => chosen.loss.has(s)).map(([s, x]) => chosen.loss.get(s) - x));
    const worse = holm(better.filter(d => d.length >= data.pairs).map(d => nonInferiority(d, 0))).filter(p => p < data.alpha);
    return data.said[worse.length === data.controls.length ? "controls worse" : "controls open"];
  }

  function conclude(tickets, margin) {
    const chosen = tickets.filter(t => t.arm === "imp").at(-1) || tickets.filter(t => t.arm === "omp").at(-1);
    if (!chosen) return [data.said.none, ""];
    const n = chosen.values.length, word = outcome(chosen, margin), [first, ...rest] = chosen.label;
    let details = `${first.toUpperCase()}${rest.join("")}: ${signed(chosen.mean)} m from dense, `;
    details += n < 2 ? "one pair" : `${n} pairs, 95 % interval ${range(chosen.low, chosen.high)} m`;
    if (!Number.isNaN(chosen.p)) details += `; p ${chosen.p < 0.001 ? "" : "= "}${small(chosen.p)} against a margin of ${margin.toFixed(3)} m`;
    return [word === "non-inferior" && chosen.primary ? beside(chosen, tickets) : data.said[word], `${details}.`];
  }

  // What is said under a setting: two sentences, and rows of texts.
  function results(margin, protocol, epochs, seeds) {
    const budget = data.budgets[epochs];
    const tickets = budget.tickets.map(t => {
      const loss = new Map(data.seeds.map((s, i) => [s, t.losses[protocol][i]]).filter(([s, x]) => x !== null && seeds.includes(s)));
      const values = [...loss.values()], [low, high] = interval(values);
      const p = values.length >= data.pairs && budget.passed ? nonInferiority(values, margin) : NaN;
      return {...t, loss, values, low, high, p, mean: mean(values)};
    }).filter(t => t.values.length);
    for (const density of new Set(tickets.map(t => t.density))) {
      const family = tickets.filter(t => t.density === density && !t.primary && !Number.isNaN(t.p));
      holm(family.map(t => t.p)).forEach((p, i) => { family[i].p = p; });
    }
    const rows = [...new Set(tickets.map(t => t.arm))].flatMap(arm => {
      const levels = tickets.filter(t => t.arm === arm);
      return [[levels[0].name + breakEven(levels, margin, levels[0].density === 1 || arm === budget.unread)], ...levels.map(t => [percent(t.density), String(t.values.length),
        signed(t.mean), range(t.low, t.high), small(t.p), outcome(t, margin)])];
    });
    return [...conclude(tickets, margin), rows];
  }

  function update() {
    const margin = Number(form.margin.value), seeds = [...form.querySelectorAll(":checked[type=checkbox]")].map(box => Number(box.value));
    const [conclusion, details, rows] = results(margin, form.protocol.value, form.epochs.value, seeds);
    form.querySelector("output").textContent = `${margin.toFixed(3)} m`;
    form.margin.setAttribute("aria-valuetext", `${margin.toFixed(3)} metres`);
    root.querySelector(".trial-conclusion strong").textContent = conclusion;
    root.querySelector(".trial-conclusion span").textContent = details;
    body.replaceChildren();
    for (const texts of rows) {
      const row = body.insertRow();
      row.className = texts.length === 1 ? "group" : "";
      for (const text of texts) row.append(Object.assign(document.createElement(texts.length === 1 ? "th" : "td"), {textContent: text, colSpan: texts.length === 1 ? 6 : 1}));
    }
  }

  data.protocols.forEach((name, i) => form.protocol.add(new Option(name, i)));
  for (const epochs of Object.keys(data.budgets)) form.epochs.add(new Option(`${epochs} epochs`, epochs, +epochs === data.main, +epochs === data.main));
  form.epochs.parentElement.hidden = form.epochs.length < 2;
  for (const seed of data.seeds) {
    const label = form.querySelector("fieldset").appendChild(document.createElement("label"));
    label.append(Object.assign(document.createElement("input"), {type: "checkbox", value: seed, defaultChecked: true}), ` ${seed}`);
  }
  form.margin.defaultValue = data.margin;
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", event => event.preventDefault());
  root.live = {results, cdf, quantile};
  form.hidden = root.querySelector("table").hidden = false;
  update();
})();
