// What a reader has opened is there without a network: pages as they were last seen, Python once it was loaded.
//
// Files whose names carry a hash never change: they come from the cache. Everything else comes from the network while
// there is one.
const CACHE = "tinyadv-site";
const HASHED = /\.[0-9a-f]{12}\.gzip$/;

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  event.respondWith(HASHED.test(url.pathname) ? fromCache(request) : fromNetwork(request));
});

// The page sends what it had loaded before this worker was there.
addEventListener("message", (event) => event.waitUntil(remember(event.data)));

async function remember(urls) {
  const cache = await caches.open(CACHE);
  const ours = [...new Set(urls)].filter((url) => new URL(url).origin === location.origin);
  await Promise.all(ours.map(async (url) => (await cache.match(url)) ?? cache.add(url).catch(() => {})));
}

async function fromCache(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request);
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok) {
    const copy = answer.clone();
    await forget(cache, request.url);
    cache.put(request, copy);
  }
  return answer;
}

// An earlier build's file of the same name and another hash is of no use any more.
async function forget(cache, url) {
  const stem = url.replace(HASHED, "");
  const kept = (await cache.keys()).map((request) => request.url).filter((old) => HASHED.test(old));
  await Promise.all(kept.filter((old) => old.replace(HASHED, "") === stem).map((old) => cache.delete(old)));
}

async function fromNetwork(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) cache.put(request, answer.clone());
    return answer;
  } catch (error) {
    const found = await cache.match(request, { ignoreSearch: true });
    if (found) return found;
    throw error;
  }
}
