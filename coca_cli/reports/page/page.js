"use strict";
// Tables sort by a click on a column's name: numbers by their value, words by the alphabet, empty cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const number = head.classList.contains("number");
      const first = number ? "descending" : "ascending";
      const other = number ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        if (!number) return cell.textContent.trim().toLowerCase();
        return cell.dataset.order === undefined ? NaN : Number(cell.dataset.order);
      };
      const empty = (value) => (number ? Number.isNaN(value) : value === "");
      const groups = []; // a line that says by how much another differs stays below that one
      for (const row of body.rows) {
        if (row.classList.contains("follows")) groups.at(-1)[1].push(row);
        else groups.push([key(row), [row]]);
      }
      groups.sort(([a], [b]) => {
        if (empty(a) || empty(b)) return empty(a) - empty(b);
        return sign * (number ? a - b : a.localeCompare(b));
      });
      for (const row of groups.flatMap(([, rows]) => rows)) {
        row.classList.remove("rule");
        body.append(row);
      }
      heads.forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
    });
  });
}
// What is folded is printed, too.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
