"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const stored = { get: () => { try { return localStorage.getItem("embcheck-theme"); } catch { return null; } },
                   set: (value) => { try { localStorage.setItem("embcheck-theme", value); } catch { /* private window */ } } };
  const asked = new URLSearchParams(location.search).get("theme") || stored.get();
  if (asked === "light" || asked === "dark") root.dataset.theme = asked;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    stored.set(root.dataset.theme);
  });

  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* a file:// page may not */ }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const done = await copy(button.parentElement.querySelector("code").textContent);
    button.textContent = done ? "Copied" : "Select and copy";
    button.focus();
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  const find = document.getElementById("find");
  const boxes = all("input[name=status]");
  const rows = all("[data-text]");
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const row of rows) {
      row.hidden = !(chosen.has(row.dataset.status) && words.every((word) => row.dataset.text.includes(word)));
    }
    for (const part of all(".grid tbody, .group")) {
      part.hidden = !part.querySelector("[data-text]:not([hidden])");
    }
    const shown = all("#grid tr[data-text]:not([hidden])").length;
    document.getElementById("shown").textContent = `${shown} of ${all("#grid tr[data-text]").length} laws`;
  };
  find.addEventListener("input", filter);
  boxes.forEach((box) => box.addEventListener("change", filter));
  filter();

  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(input|textarea)$/i.test(document.activeElement.tagName)) {
      event.preventDefault();
      find.focus();
    } else if (event.key === "Escape" && document.activeElement === find) {
      find.value = "";
      filter();
    }
  });

  const opened = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.hidden = false;
      target.closest(".group").hidden = false;
      target.open = true;
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", opened);
  opened();
  document.getElementById("open").addEventListener("click", () => all("details.law").forEach((law) => { law.open = true; }));
  document.getElementById("close").addEventListener("click", () => all("details.law").forEach((law) => { law.open = false; }));
})();
