// A row of tabs that shows one view at a time; arrow keys move along the row.

/** Call `changed` with a view's name when it is chosen. Returns a function that shows a view. */
export function tabs(row, workspace, changed) {
  const all = [...row.querySelectorAll("[role=tab]")];
  const nameOf = (tab) => tab.id.replace("tab-", "");
  const show = (name) => {
    for (const tab of all) {
      tab.setAttribute("aria-selected", String(nameOf(tab) === name));
      tab.tabIndex = nameOf(tab) === name ? 0 : -1;
    }
    workspace.dataset.view = name;
    if (!row.hidden) workspace.role = "tabpanel";
    workspace.setAttribute("aria-labelledby", `tab-${name}`);
  };
  const choose = (tab) => {
    show(nameOf(tab));
    changed(nameOf(tab));
  };
  row.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  row.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const tab = all[(next + all.length) % all.length];
    tab.focus();
    choose(tab);
  });
  return show;
}
