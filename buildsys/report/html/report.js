// The page is whole without this: it shows one target's details, filters, sorts, widens and copies. Texts are only ever set as text.
"use strict";
(() => {
  const targets = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("details");
  let opener = null;

  for (const it of document.querySelectorAll(".copy-it")) it.hidden = false;

  const make = (name, text, kind) => {
    const it = document.createElement(name);
    if (kind) it.className = kind;
    if (text !== undefined) it.append(text);
    return it;
  };
  const add = (parent, ...children) => { parent.append(...children.filter(Boolean)); return parent; };
  const titled = (title, ...content) => [make("h3", title), ...content];
  const pairs = (rows) => rows.length
    ? add(make("dl"), ...rows.flatMap(([name, text]) => [make("dt", name), add(make("dd"), text)])) : null;
  const code = (text, kind) => make("code", text, kind);

  // Only own names count: a target may be called `constructor`.
  const known = (name) => Object.hasOwn(targets, name) ? targets[name] : undefined;

  const kin = (title, names) => {
    if (!names || !names.length) return [];
    const list = make("ul", undefined, "kin");
    for (const name of names) {
      const other = known(name);
      const button = make("button", other ? other.title : name, "link");
      button.type = "button";
      if (other) button.dataset.target = name; else button.disabled = true;
      list.append(add(make("li", undefined, other && other.class), make("span", (other ? other.mark : "·") + " ", "mark"), button));
    }
    return titled(title + " (" + names.length + ")", list);
  };
  const rows = (lines, number) => {
    const body = make("tbody");
    for (const line of lines) {
      body.append(add(make("tr"), ...line.map((text, place) => make("td", text, place === number ? "number" : ""))));
    }
    return add(make("table"), body);
  };
  const steps = (lines) => {
    const body = make("tbody");
    for (const [name, kind, seconds, share, remark] of lines) {
      const bar = make("span", undefined, "step-bar " + kind);
      bar.style.width = share + "%";
      const first = add(make("td"), code(name), share ? bar : null);
      body.append(add(make("tr"), first, make("td", [seconds, remark].filter(Boolean).join(" "), "number")));
    }
    return add(make("table", undefined, "steps"), body);
  };
  const failure = (it) => it ? titled(
    "Failure: " + it.kind,
    it.place ? add(make("p", undefined, "place"), code(it.place)) : null,
    it.source ? make("pre", it.source) : null,
    it.message ? make("p", it.message) : null,
    make("pre", it.lines, "words"),
  ) : [];

  const show = (name) => {
    const it = known(name);
    if (!it) return false;
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "close");
    close.addEventListener("click", hide);
    panel.replaceChildren();
    add(
      panel, close, make("h2", it.title), make("p", it.mark + " " + it.outcome, "chip " + it.class), pairs(it.facts || []),
      ...(it.blocked ? kin("Blocked by", [it.blocked]) : []),
      ...failure(it.failure),
      ...(it.alone ? titled("Rerun", code(it.alone, "copy")) : []),
      ...(it.log ? titled("All its output", code(it.log)) : []),
      ...kin("Needs", it.needs), ...kin("Needed by", it.users),
      ...(it.attempts ? titled("Attempts", rows(it.attempts, -1)) : []),
      ...(it.steps ? titled("Steps (" + it.steps.length + ")", steps(it.steps)) : []),
      ...(it.tags ? titled("Tags", ...it.tags.map((tag) => add(make("p"), code(tag)))) : []),
      ...(it.layers ? titled("Blobs (" + it.layers.length + ")", rows(it.layers, 0)) : []),
    );
    panel.hidden = false;
    panel.scrollTop = 0;
    document.body.classList.add("open");
    choose(name);
    return true;
  };

  // All that a target needs and all that needs it: each is looked at once.
  const family = (name) => {
    const found = new Set([name]);
    for (const way of ["needs", "users"]) {
      const waiting = [name];
      const seen = new Set(waiting);
      while (waiting.length) {
        for (const other of (known(waiting.pop()) || {})[way] || []) {
          if (!seen.has(other)) { seen.add(other); found.add(other); waiting.push(other); }
        }
      }
    }
    return found;
  };
  const choose = (name) => {
    const near = name === null ? new Set() : family(name);
    for (const it of document.querySelectorAll("main [data-target]")) {
      const marked = it.matches("button.link") ? it.closest("tr") : it;
      if (marked) marked.classList.toggle("chosen", it.dataset.target === name);
      if (it.matches(".box")) it.classList.toggle("kin", near.has(it.dataset.target));
    }
    for (const it of document.querySelectorAll(".edge")) {
      it.classList.toggle("kin", near.has(it.dataset.from) && near.has(it.dataset.to));
    }
    for (const it of document.querySelectorAll(".graph")) it.classList.toggle("choosing", name !== null);
  };
  const hide = () => {
    if (panel.hidden) return;
    panel.hidden = true;
    document.body.classList.remove("open");
    choose(null);
    if (location.hash.startsWith("#target=")) history.replaceState(null, "", "#");
    if (opener && opener.isConnected) opener.focus({ preventScroll: true });
    opener = null;
  };
  const pick = (it) => {
    const name = it.dataset.target;
    // What was chosen in the panel is gone as soon as the panel shows it.
    const inside = panel.contains(it);
    if (!show(name)) return;
    if (!inside) opener = it;
    history.replaceState(null, "", "#target=" + encodeURIComponent(name));
    panel.focus({ preventScroll: true });
  };

  const sort = (head) => {
    const place = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.matches(".number");
    const body = head.closest("table").tBodies[0];
    const value = (row) => {
      const cell = row.cells[place];
      return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent;
    };
    const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
    const keyed = [...body.rows].map((row) => [value(row), row]).sort((a, b) => (down ? -1 : 1) * order(a[0], b[0]));
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...keyed.map(([, row]) => row));
  };

  // The older way needs no permission and works in a page from a folder; the text stays chosen for Ctrl+C.
  const copy = async (button) => {
    const text = button.previousElementSibling;
    getSelection().selectAllChildren(text);
    let done = document.execCommand("copy");
    if (!done) {
      try { await navigator.clipboard.writeText(text.textContent); done = true; } catch { /* Then a person copies it. */ }
    }
    button.textContent = done ? "copied" : "press Ctrl+C";
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  };

  document.addEventListener("click", (event) => {
    const it = event.target.closest("[data-target], [data-zoom], th button, .copy-it");
    if (!it) return;
    if (it.matches(".copy-it")) copy(it);
    else if (it.dataset.target !== undefined) pick(it);
    else if (it.matches("button[data-zoom]")) {
      document.querySelector(".timeline").dataset.zoom = it.dataset.zoom;
      for (const other of it.parentNode.children) other.setAttribute("aria-pressed", String(other === it));
    } else if (it.matches("th button")) sort(it.closest("th"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    else if ((event.key === "Enter" || event.key === " ") && event.target.matches("g[data-target]")) {
      event.preventDefault();
      pick(event.target);
    }
  });
  const filter = document.getElementById("filter");
  if (filter) {
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of document.querySelectorAll("#targets-table tbody tr")) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
  const follow = () => {
    if (!location.hash.startsWith("#target=")) return;
    try { show(decodeURIComponent(location.hash.slice(8))); } catch { /* A truncated hash. */ }
  };
  window.addEventListener("hashchange", follow);
  follow();
})();
