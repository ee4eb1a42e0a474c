// A prediction: the result, and what is said of it, stay hidden until the reader has chosen an answer. Without this
// script all is shown.
function ask(question) {
  const hidden = result(question);
  const list = question.querySelector("ul");
  if (!list || !hidden.length) return;
  const show = (shown) => hidden.forEach((part) => (part.hidden = !shown));
  show(false);
  const note = document.createElement("p");
  note.className = "predict-note";
  note.setAttribute("role", "status");
  note.textContent = "Choose an answer to see the result and read on.";
  let chosen = false;
  list.querySelectorAll(":scope > li").forEach((item) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      if (chosen) return;
      chosen = true;
      button.setAttribute("aria-pressed", "true");
      show(true);
      dispatchEvent(new Event("resize")); // what scrolls among it becomes reachable by keyboard: see scroll.js
      note.textContent = "Your prediction is marked. Compare it with the result below.";
    });
    item.append(button);
  });
  question.append(note);
}

// What gives the answer away: all outputs, figures and prose below a question, as far as its section goes.
function result(question) {
  const found = [];
  for (let part = question.nextElementSibling; part; part = part.nextElementSibling) {
    if (part.matches("section, .predict, .exercise")) break;
    if (part.matches(".cell:not(.tag_hide-input)")) found.push(...part.querySelectorAll(".cell_output"));
    else found.push(part);
  }
  return found;
}

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".predict").forEach(ask));
