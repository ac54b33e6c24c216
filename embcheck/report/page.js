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

  const filters = all(".tools[data-over]").map((tools) => {
    const find = tools.querySelector("input[type=search]");
    const boxes = all("input[name=status]", tools);
    const within = tools.dataset.over.split(",").map((part) => part.trim());
    const rows = all(within.map((part) => `${part} [data-status]`).join());
    const texts = new Map(rows.map((row) => [row, (row.dataset.text || row.textContent).toLowerCase()]));
    const parts = all(within.flatMap((part) => [`${part} .grid tbody`, `${part} .group`]).join());
    const counted = all(`${tools.dataset.rows}[data-status]`).filter((row) => texts.has(row));
    const filter = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      for (const row of rows) {
        row.hidden = !(chosen.has(row.dataset.status) && words.every((word) => texts.get(row).includes(word)));
      }
      for (const part of parts) {
        part.hidden = !part.querySelector("[data-status]:not([hidden])");
      }
      const shown = counted.filter((row) => !row.hidden).length;
      tools.querySelector(".shown").textContent = `${shown} of ${counted.length} ${tools.dataset.noun}`;
    };
    find.addEventListener("input", filter);
    boxes.forEach((box) => box.addEventListener("change", filter));
    filter();
    return { find, filter, boxes, within };
  });

  all("button[data-only]").forEach((button) => button.addEventListener("click", () => {
    const { boxes, filter } = filters.find((one) => one.within.includes("#laws"));
    const alone = boxes.every((box) => box.checked === (box.value === button.dataset.only));
    boxes.forEach((box) => { box.checked = alone || box.value === button.dataset.only; });
    filter();
    document.getElementById(alone ? "summary" : "laws").scrollIntoView();
  }));

  document.addEventListener("keydown", (event) => {
    const held = filters.find((one) => one.find === document.activeElement);
    if (event.key === "/" && filters.length && !/^(input|textarea)$/i.test(document.activeElement.tagName)) {
      event.preventDefault();
      filters[0].find.focus();
    } else if (event.key === "Escape" && held) {
      held.find.value = "";
      held.filter();
    }
  });

  const opened = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      for (let part = target; part; part = part.parentElement) {
        part.hidden = false;
        if (part.tagName === "DETAILS") part.open = true;
      }
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", opened);
  opened();
  for (const [name, open] of [["open", true], ["close", false]]) {
    all(`button.${name}`).forEach((button) => button.addEventListener("click", () => {
      all(`${button.dataset.of} details.law`).forEach((law) => { law.open = open; });
    }));
  }
})();
