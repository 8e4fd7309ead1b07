(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("#moved tbody tr")];
  const words = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const { text, kind, arrow, shown } = form.elements;
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, index) => {
      const fits =
        words[index].includes(wanted) &&
        (!kind.value || row.dataset.kind === kind.value) &&
        (!arrow.value || row.dataset.arrow === arrow.value);
      row.hidden = !fits;
      count += fits;
    });
    shown.value = `${count} of ${rows.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
  apply();
})();
