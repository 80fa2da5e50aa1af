// Spike: a stampede. Thousands ask within one second for one page that takes the origin PAGE_SECONDS, three times over:
//
//     expired   it was stored, is stale, and may not be served so: all must wait for one fetch
//     stale     it was stored, is stale, and may be served so while one fetch renews it: nobody waits
//     absent    it was never stored: all must wait for one fetch
//
//     USERS          virtual users, by default 2000: all of them ask once for each page
//     PAGE_SECONDS   by default 2
//     FRESH_SECONDS  how long what was stored is fresh, by default 4. More than PAGE_SECONDS: the time of an answer counts as its
//                    age (RFC 9111 §4.2.3), and one that is stale when it comes is nobody else's
//     GRACE_MS       by how much later than the page's own time the 99th percentile may be, by default 2000
//
// The origin is tests/apps/slow.py, and the proxy has a route /strict/ without and /loose/ with leave to serve what is stale.
import http from 'k6/http';
import { sleep } from 'k6';
import { BASE, ask, number, options as common, sent, thresholds } from './common.js';

const USERS = number('USERS', 2000);
const PAGE = number('PAGE_SECONDS', 2);
const FRESH = number('FRESH_SECONDS', 4);
const GRACE = number('GRACE_MS', 2000);

const page = (place, freshness) => `${place}?head=${PAGE}&size=20000&cc=max-age%3D${freshness}`;
const PAGES = {
  expired: { path: page('/strict/expired', FRESH), most: PAGE * 1000 + GRACE },
  stale: { path: page('/loose/stale', FRESH), most: GRACE },
  absent: { path: page('/strict/absent', 300), most: PAGE * 1000 + GRACE },
};
const names = Object.keys(PAGES);
// Time for the last of a stampede to be answered before the next begins.
const APART = Math.ceil(PAGE * 2 + GRACE / 1000 + 2);

export const options = common({
  setupTimeout: '120s',
  scenarios: Object.fromEntries(
    names.map((name, n) => [
      name,
      {
        executor: 'constant-arrival-rate',
        rate: USERS,
        timeUnit: '1s',
        duration: '1s',
        startTime: `${n * APART}s`,
        preAllocatedVUs: USERS,
        maxVUs: USERS,
        gracefulStop: `${APART - 1}s`,
        env: { PAGE: name },
      },
    ]),
  ),
  thresholds: thresholds(USERS * names.length, {
    ...Object.fromEntries(names.map((name) => [`http_reqs{page:${name}}`, [sent(USERS)]])),
    ...Object.fromEntries(names.map((name) => [`http_req_failed{page:${name}}`, ['rate==0']])),
    ...Object.fromEntries(names.map((name) => [`http_req_duration{page:${name}}`, [`p(99)<${PAGES[name].most}`]])),
  }),
});

export function setup() {
  for (const name of ['expired', 'stale']) http.get(BASE + PAGES[name].path, { timeout: '60s' });
  // Until what was stored is stale, also for who counts from its arrival.
  sleep(FRESH + 1);
}

export default function () {
  ask(PAGES[__ENV.PAGE].path, { page: __ENV.PAGE });
}
