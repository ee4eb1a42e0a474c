// What is wider than the screen scrolls by itself; then it must be reachable by keyboard, too.
const wide = ".content :is(pre, .table-wrapper, .formula, .cell_output, .cell_output .output)";

function reachable() {
  document.querySelectorAll(".content .cell_output > img").forEach((image) => {
    image.classList.toggle("wide", image.naturalWidth > 1.9 * image.naturalHeight);
  });
  document.querySelectorAll(wide).forEach((part) => {
    const scrolls = part.scrollWidth > part.clientWidth && getComputedStyle(part).overflowX !== "visible";
    if (!scrolls) {
      part.removeAttribute("tabindex");
    } else if (!part.hasAttribute("tabindex")) {
      part.setAttribute("tabindex", "0");
    }
  });
}

addEventListener("load", reachable);
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true);
