// What a reference leads to, shown in small beside it: by mouse, keyboard and touch; Escape puts it away.
(() => {
  const box = Object.assign(document.createElement("div"), {id: "preview", hidden: true});
  box.setAttribute("role", "tooltip");
  document.body.append(box);
  let shown = null, timer = 0;

  // The HTML for an element that refers to something; "" for one that does not.
  function content(element) {
    if (element.dataset.runs) {
      const keys = element.dataset.runs.split(" "), most = 12, known = keys.slice(0, most).map(key => PREVIEWS[key] || key);
      if (keys.length > most) known.push(`and ${keys.length - most} more`);
      return `<p>From ${keys.length === 1 ? "one run" : keys.length + " runs"}:</p><ul><li>${known.join("<li>")}</ul>`;
    }
    const [page, id] = (element.getAttribute("href") || "").split("#"), here = location.pathname.split("/").pop();
    return (id ? PREVIEWS[id] : page !== here && PREVIEWS[page]) || "";
  }

  function show(element) {
    clearTimeout(timer);
    if (element === shown) return;
    hide();
    const html = content(element);
    if (!html) return;
    shown = element;
    box.innerHTML = html;
    box.hidden = false;
    element.setAttribute("aria-describedby", "preview");
    const place = element.getBoundingClientRect(), size = box.getBoundingClientRect(), gap = 6;
    const left = Math.max(8, Math.min(place.left, document.documentElement.clientWidth - size.width - 8));
    const above = place.bottom + gap + size.height > innerHeight && place.top > size.height + gap;
    box.style.left = `${scrollX + left}px`;
    box.style.top = `${scrollY + (above ? place.top - size.height - gap : place.bottom + gap)}px`;
  }

  function hide() {
    clearTimeout(timer);
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  const refers = "main a[href], main [data-runs]", later = (work, wait) => { clearTimeout(timer); timer = setTimeout(work, wait); };
  for (const element of document.querySelectorAll("main [data-runs]")) element.tabIndex = 0;
  document.addEventListener("pointerover", event => {
    if (event.pointerType !== "mouse") return;
    const element = event.target.closest(refers);
    if (element) later(() => show(element), 150);
    else if (event.target.closest("#preview")) clearTimeout(timer);
    else if (shown) later(hide, 300);
  });
  document.addEventListener("focusin", event => { const element = event.target.closest(refers); if (element) show(element); else hide(); });
  // A finger's first touch shows, its second follows the link.
  let touched = null;
  document.addEventListener("pointerdown", event => {
    const element = event.target.closest(refers);
    touched = event.pointerType === "mouse" ? null : [element, element && element === shown];
    if (!element && !event.target.closest("#preview")) hide();
  });
  document.addEventListener("click", event => {
    const element = event.target.closest(refers);
    if (!touched || !element || touched[0] !== element || touched[1] || !content(element)) return;
    event.preventDefault();
    show(element);
  });
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });

  for (const button of document.querySelectorAll("[data-copies]")) button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copies);
    getSelection().selectAllChildren(text);
    try { await navigator.clipboard.writeText(text.textContent); button.textContent = "Copied"; } catch { button.textContent = "Selected: copy it by Ctrl+C"; }
  });
})();
