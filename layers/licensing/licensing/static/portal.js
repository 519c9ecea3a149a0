// Nothing here is needed for any task: it only makes the pages nicer.
"use strict";

// Ask before what can't be taken back, and don't send a form twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
  } else if (form.dataset.sent) {
    event.preventDefault();
  } else if (form.method === "post" && !("again" in form.dataset)) {
    form.dataset.sent = "true";
  }
});
window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));

// In the live view a double click anywhere on a row opens what it hides, or closes it. (On the summary the first click does, the second
// one takes that back.)
document.addEventListener("dblclick", (event) => {
  const details = event.target.closest("[data-live] tr")?.querySelector("details");
  if (details && !event.target.closest("button")) {
    details.open = !details.open;
    window.getSelection().removeAllRanges();
  }
});

// The live view follows what happens while somebody looks at it: the same page is asked for, and parts that differ are replaced. What
// was opened stays open, the focus where it was, and the topmost row in sight at its place.
function follow(shown, fresh) {
  const row = (node) => node.closest("[data-row]")?.dataset.row ?? "";
  const named = (name) => fresh.querySelector(`[data-row="${CSS.escape(name)}"]`);
  shown.querySelectorAll("details[open]").forEach((each) => named(row(each))?.querySelector("details")?.setAttribute("open", ""));
  if (shown.isEqualNode(fresh)) return;
  const focused = shown.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = [...shown.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const top = (node) => node.getBoundingClientRect().top;
  const kept = [...shown.querySelectorAll("tr[data-row]")].find((each) => each.getBoundingClientRect().bottom > 0 && named(row(each)));
  const [name, place] = top(shown) < 0 && kept ? [row(kept), top(kept)] : ["", 0];
  shown.replaceWith(fresh);
  fresh.querySelectorAll(".scroll").forEach((each, number) => (each.scrollLeft = scrolled[number] ?? 0));
  if (name) window.scrollBy({ top: top(named(name)) - place, behavior: "instant" });
  if (focused) {
    const again = named(row(focused));
    (again?.querySelector(focused.localName) ?? again ?? fresh.querySelector(".scroll"))?.focus({ preventScroll: true });
  }
}

if (document.querySelector("[data-live]")) {
  let asking = false;
  const busy = () => asking || document.hidden || document.querySelector("form[data-sent]");
  const refresh = async () => {
    if (busy()) return;
    asking = true;
    const answer = await fetch(document.querySelector("[data-live]").dataset.live).catch(() => null);
    const text = answer?.ok ? await answer.text().catch(() => "") : "";
    asking = false;
    if (answer?.redirected) {
      clearInterval(timer); // signed out
    } else if (text && !busy()) {
      const page = new DOMParser().parseFromString(text, "text/html");
      document.querySelectorAll("[data-live]").forEach((shown) => follow(shown, document.adoptNode(page.getElementById(shown.id))));
    }
  };
  const timer = setInterval(refresh, 10_000);
  document.addEventListener("visibilitychange", refresh);
}

// Copy buttons appear where there is something to copy.
document.querySelectorAll("[data-copy]").forEach((source) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = source.dataset.copy;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = source.dataset.copied;
  });
  source.after(" ", button);
});

// The license table adds up while somebody types, and does not let unsaved quantities go unasked.
document.querySelectorAll("form.sheet").forEach((sheet) => {
  let unsaved = false;
  const status = sheet.querySelector("[data-over]");
  const tooMuch = new Set();
  sheet.addEventListener("submit", () => (unsaved = false));
  window.addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
  sheet.querySelectorAll("tbody").forEach((row) => {
    const fields = [...row.querySelectorAll("input[name^=q-]")];
    const shown = row.querySelector("input[name^=row-]").value.split(" ").slice(1).map(Number);
    const used = row.querySelector(".used");
    const before = fields.reduce((sum, field) => sum + shown[field.name.split("-")[2]], 0);
    row.addEventListener("input", () => {
      unsaved = true;
      const now = fields.reduce((sum, field) => sum + (Number(field.value) || 0), Number(used.dataset.used) - before);
      used.textContent = now.toLocaleString(document.documentElement.lang);
      tooMuch[now > Number(used.dataset.total) ? "add" : "delete"](row);
      used.closest("tr").classList.toggle("bad", tooMuch.has(row));
      status.textContent = tooMuch.size ? status.dataset.over : "";
    });
  });
});

// A QR code is read from a photograph where the browser can; its text goes where it could have been pasted.
if ("BarcodeDetector" in window) {
  document.querySelectorAll(".qr").forEach((field) => {
    const status = field.querySelector("[role=status]");
    field.hidden = false;
    field.querySelector("input").addEventListener("change", async (event) => {
      status.textContent = "";
      const picture = await createImageBitmap(event.target.files[0]).catch(() => null);
      const [code] = picture ? await new BarcodeDetector({ formats: ["qr_code"] }).detect(picture) : [];
      if (code) document.getElementById(field.dataset.text).value = code.rawValue;
      else status.textContent = field.dataset.none;
    });
  });
}
