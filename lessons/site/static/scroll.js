// What is wider than the screen scrolls by itself; then it fades out where it goes on, and is reachable by keyboard, too.
const wide = ".content :is(pre, .table-wrapper, .formula, .cell_output, .cell_output .output)";
const DOTS = 160; // an inch of a lesson's figures: see STYLE in tinyadv/paper/draw
const REM = 3.75; // an inch of them on a phone, where their letters then are as large as small print

function reachable() {
  document.querySelectorAll(".content .cell_output > img").forEach((image) => {
    const inches = image.naturalWidth / DOTS;
    image.classList.toggle("wide", inches > 6.2);
    image.style.setProperty("--wide", `${inches * REM}rem`);
  });
  document.querySelectorAll(".content .formula").forEach((formula) => {
    formula.classList.remove("small");
    formula.classList.toggle("small", formula.scrollWidth > formula.clientWidth);
  });
  document.querySelectorAll(wide).forEach((part) => {
    const scrolls = part.scrollWidth > part.clientWidth && getComputedStyle(part).overflowX !== "visible";
    goesOn(part, scrolls);
    if (!scrolls) {
      part.removeAttribute("tabindex");
    } else if (!part.hasAttribute("tabindex")) {
      part.setAttribute("tabindex", "0");
    }
  });
}

function goesOn(part, scrolls = true) {
  part.classList.toggle("goes-on", scrolls && part.scrollLeft + part.clientWidth < part.scrollWidth - 2);
}

addEventListener("scroll", ({ target }) => target instanceof Element && target.matches(wide) && goesOn(target), true);
addEventListener("load", reachable);
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true);
