"use strict";

// Tables that can be sorted, and filtered if they are long. Without this script they are read as they are.
for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    cell.replaceChildren(button);
    button.addEventListener("click", () => sort(table, original, cell, column));
  });
  if ("filter" in table.dataset) {
    addFilter(table, original);
  }
}

function sort(table, original, cell, column) {
  // Up, down, and back to the order that it came in.
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  const order = next[cell.getAttribute("aria-sort") || "none"];
  for (const other of table.tHead.rows[0].cells) {
    other.removeAttribute("aria-sort");
  }
  const rows = [...original];
  if (order !== "none") {
    cell.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => sign * compare(a.cells[column], b.cells[column]));
  }
  table.tBodies[0].append(...rows);
}

function compare(a, b) {
  const [left, right] = [a, b].map((cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : null));
  if (left !== null && right !== null) {
    return left - right;
  }
  // Cells without a number come before those with one.
  return (left !== null) - (right !== null) || a.textContent.localeCompare(b.textContent);
}

function addFilter(table, rows) {
  const label = document.createElement("label");
  label.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  label.append("Show rows that hold", input);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  });
  table.parentElement.before(label, count);
}

// What a mark of a chart stands for, at once instead of after the browser's delay.
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);
for (const title of document.querySelectorAll(".chart title")) {
  const mark = title.parentElement;
  const text = title.textContent;
  title.remove();
  mark.addEventListener("pointermove", (event) => {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  mark.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });
}

// A printed page has nothing to unfold.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) {
    folded.open = true;
  }
});
for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${block.getAttribute("aria-label")}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
  });
  // Where there is no clipboard to write to, a button would do nothing.
  if (navigator.clipboard) {
    block.before(button);
  }
}
