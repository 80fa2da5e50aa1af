// Load: a usual day. A steady rate of the mix.
//
//     RATE     requests a second, by default 1000
//     SECONDS  by default 30
//     VUS      requests at once, by default 200
import { ask, number, options as common, pick, steady, thresholds } from './common.js';

const RATE = number('RATE', 1000);
const SECONDS = number('SECONDS', 30);

export const options = common({
  scenarios: { load: steady(RATE, SECONDS, number('VUS', 200)) },
  thresholds: thresholds(RATE * SECONDS, { http_req_duration: [`p(99)<${number('P99_MS', 250)}`] }),
});

export default function () {
  ask(pick());
}
