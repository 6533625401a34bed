// Renews a part of the page from the server, until that says it is over.
// <div data-renew="address" data-every="seconds">, whose content may begin with
// <div data-shown="..."> (sent as `seen`; 204 means nothing changed) and end with data-over.

const opened = (part) => new Set([...part.querySelectorAll("details[open][id]")].map((d) => d.id));

function replace(part, html) {
  const open = opened(part);
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html;
  for (const id of open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  if (focused) part.querySelector(`#${CSS.escape(focused)}`)?.focus();
}

async function renew(part) {
  const seen = part.querySelector("[data-shown]")?.dataset.shown ?? "";
  const address = new URL(part.dataset.renew, location.href);
  if (seen) address.searchParams.set("seen", seen);
  const answer = await fetch(address, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  if (answer.status !== 204) replace(part, await answer.text());
  return part.querySelector("[data-over]") === null;
}

async function follow(part) {
  const pause = 1000 * Number(part.dataset.every || 5);
  const lost = document.querySelector("#renew-lost");
  for (let goesOn = true; goesOn; ) {
    await new Promise((done) => setTimeout(done, pause));
    if (document.hidden) continue;
    try {
      goesOn = await renew(part);
      if (lost) lost.hidden = true;
    } catch {
      if (lost) lost.hidden = false;
    }
  }
  for (const each of document.querySelectorAll("[data-while-live]")) each.remove();
}

for (const part of document.querySelectorAll("[data-renew]")) follow(part);
