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
