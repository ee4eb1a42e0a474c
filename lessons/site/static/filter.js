// The table of claims: buttons that show one status only. Without this script all rows are there.
function addFilter() {
  const table = [...document.querySelectorAll("table")].find((t) => t.querySelector("td .badge"));
  if (!table || !document.querySelector("h1")?.textContent.startsWith("The claims")) return;
  const rows = [...table.querySelectorAll("tbody tr")];
  const status = (row) => row.querySelector(".badge").textContent.replace(/\s/g, " ").replace(/[^a-z ]/g, "").trim();
  const counts = new Map([["all", rows.length]]);
  rows.forEach((row) => counts.set(status(row), (counts.get(status(row)) || 0) + 1));
  const bar = document.createElement("div");
  bar.className = "filter";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Show claims by status");
  for (const [name, count] of counts) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${name} (${count})`;
    button.setAttribute("aria-pressed", String(name === "all"));
    button.addEventListener("click", () => {
      rows.forEach((row) => (row.hidden = name !== "all" && status(row) !== name));
      bar.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    });
    bar.append(button);
  }
  (table.closest(".table-wrapper") || table).before(bar);
}

// A link to a claim opens what is folded away there.
function openTarget() {
  const target = !location.hash ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
  (target?.closest("section") || target)?.querySelector("details")?.setAttribute("open", "");
}

addEventListener("DOMContentLoaded", () => {
  addFilter();
  openTarget();
});
addEventListener("hashchange", openTarget);
