// The worker: what takes longer than a frame. Stands below network.js in one script.
"use strict";

let networks = [];

self.addEventListener("message", ({ data }) => {
  if (data.kind === "networks") {
    networks = data.networks;
    return;
  }
  const started = performance.now();
  const network = networks[data.network];
  const { x, label, eps, options } = data;
  const answer = { id: data.id, network: data.network };
  if (data.kind === "pgd") answer.image = pgd(network, x, label, eps, options);
  if (data.kind === "smallest") answer.smallest = smallestPgd(network, x, label, options);
  self.postMessage({ ...answer, milliseconds: performance.now() - started });
});
