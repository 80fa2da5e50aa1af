// Deploy: a steady rate while whoever runs this restarts the origin again and again. Nobody may notice more than a wait.
//
//     RATE     requests a second, by default 100
//     SECONDS  by default 30
//     WAIT_MS  the longest wait, by default 8000
//     VUS      requests at once; by default as many as come within WAIT_MS
import { ask, number, options as common, pick, steady, thresholds } from './common.js';

const RATE = number('RATE', 100);
const SECONDS = number('SECONDS', 30);
const WAIT = number('WAIT_MS', 8000);

export const options = common({
  scenarios: { deploy: steady(RATE, SECONDS, number('VUS', Math.ceil((RATE * WAIT) / 1000))) },
  thresholds: thresholds(RATE * SECONDS, { http_req_duration: [`max<${WAIT}`] }),
});

export default function () {
  ask(pick());
}
