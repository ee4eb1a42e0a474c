// The table of claims: buttons that show one status only. Without this script all rows are there.
function addFilter() {
  const table = [...document.querySelectorAll("table")].find((t) => t.querySelector("td .badge"));
  if (!table || !document.querySelector("h1")?.textContent.startsWith("The claims")) return;
  const statuses = new Map(); // of each row: a claim's first row has it, the ones below belong to the same claim
  const counts = new Map([["all", 0]]);
  let status = "";
  for (const row of table.querySelectorAll("tbody tr")) {
    const badge = row.querySelector(".badge");
    if (badge) {
      status = badge.textContent.replace(/\s/g, " ").replace(/[^a-z ]/g, "").trim();
      for (const name of ["all", status]) counts.set(name, (counts.get(name) || 0) + 1);
    }
    row.classList.toggle("more", !badge);
    statuses.set(row, status);
  }
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
      for (const [row, its] of statuses) row.hidden = name !== "all" && its !== name;
      bar.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    });
    bar.append(button);
  }
  (table.closest(".table-wrapper") || table).before(bar);
}

// A link to a claim opens what is folded away there.
function openTarget() {
  const target = !location.hash ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
  (target?.closest("section") || target)?.querySelector("details.definition")?.setAttribute("open", "");
}

addEventListener("DOMContentLoaded", () => {
  addFilter();
  openTarget();
});
addEventListener("hashchange", openTarget);
