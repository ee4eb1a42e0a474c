// A prediction: the next output stays hidden until the reader has chosen an answer. Without this script all is shown.
function ask(question) {
  const output = nextOutput(question);
  const list = question.querySelector("ul");
  if (!list || !output) return;
  output.hidden = true;
  const note = document.createElement("p");
  note.className = "predict-note";
  note.setAttribute("role", "status");
  note.textContent = "Choose an answer to see the result.";
  list.querySelectorAll(":scope > li").forEach((item) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      if (!output.hidden) return;
      button.setAttribute("aria-pressed", "true");
      output.hidden = false;
      note.textContent = "Your prediction is marked. Compare it with the result below.";
    });
    item.append(button);
  });
  question.append(note);
}

// The first output below a question, whatever sections lie between.
function nextOutput(question) {
  const outputs = document.querySelectorAll(".cell_output");
  return [...outputs].find((part) => question.compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING);
}

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".predict").forEach(ask));
