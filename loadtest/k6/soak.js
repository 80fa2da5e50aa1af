// Soak: a steady rate for long, and nothing may grow. The latency of each slice of the time is told apart.
//
//     RATE     requests a second, by default 500
//     SECONDS  by default 600
//     SLICES   by default 60
//     VUS      requests at once, by default 200
import exec from 'k6/execution';
import { Rate } from 'k6/metrics';
import { ask, counted, number, options as common, pick, steady, thresholds } from './common.js';

const RATE = number('RATE', 500);
const SECONDS = number('SECONDS', 600);
const SLICES = number('SLICES', 60);
const slices = Array.from({ length: SLICES }, (_, n) => n);
// As the proxy says it, by Cache-Status (RFC 9211), or by X-Cache-Status with nginx's words.
const hits = new Rate('hits');

export const options = common({
  scenarios: { soak: steady(RATE, SECONDS, number('VUS', 200)) },
  thresholds: thresholds(RATE * SECONDS, {
    ...counted(slices.map((n) => `http_req_duration{slice:${n}}`)),
    ...counted(slices.map((n) => `hits{slice:${n}}`)),
    http_req_duration: [`p(99)<${number('P99_MS', 250)}`],
  }),
});

function isHit(headers) {
  const said = headers['Cache-Status'];
  return said ? /;\s*hit/.test(said) : /^(HIT|STALE|UPDATING)$/.test(headers['X-Cache-Status'] || '');
}

export default function () {
  const slice = String(Math.min(SLICES - 1, Math.floor(exec.scenario.progress * SLICES)));
  hits.add(isHit(ask(pick(), { slice }).headers), { slice });
}
