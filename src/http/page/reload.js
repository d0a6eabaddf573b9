// Loads the page's content again every 20 seconds, until it is paused. Without this script the link beside it does.
"use strict";
(() => {
  const EVERY = 20_000;
  const controls = document.getElementById("reload");
  const button = document.createElement("button");
  button.type = "button";
  const note = document.createElement("span");
  note.setAttribute("role", "status");
  controls.append(" ", button, " ", note);

  let paused = sessionStorage.getItem("paused") === "yes";
  const show = () => { button.textContent = paused ? "Resume reloading" : "Pause reloading"; };
  button.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem("paused", paused ? "yes" : "no");
    show();
  });
  show();

  // What somebody reads, selects or types in stays.
  const inUse = () =>
    document.hidden || document.querySelector("main").contains(document.activeElement) || String(getSelection()) !== "";

  const load = async () => {
    if (paused || inUse()) return;
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(15_000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (paused || inUse()) return;
      for (const place of ["main", "#as-of"]) {
        document.querySelector(place).replaceWith(page.querySelector(place));
      }
      document.title = page.title;
      note.textContent = "";
    } catch {
      note.textContent = "The worker does not answer; what you see is old.";
    }
  };
  setInterval(load, EVERY);
})();
