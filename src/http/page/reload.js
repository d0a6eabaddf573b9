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
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = ["main", "#as-of"].map((place) => [document.querySelector(place), page.querySelector(place)]);
      // A proxy may answer with a page of its own.
      if (!parts.flat().every(Boolean)) throw new Error("another page");
      if (paused || inUse()) return;
      for (const [old, now] of parts) old.replaceWith(now);
      document.title = page.title;
      note.textContent = "";
    } catch {
      note.textContent = "The worker does not answer; what you see is old.";
    }
  };
  setInterval(load, EVERY);
})();
