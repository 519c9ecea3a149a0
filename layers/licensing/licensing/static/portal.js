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
  } else if (form.method === "post") {
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
