// Stress: a rate that rises in steps to PEAK, which is meant to be more than all of this can do. Where the proxy is
// beyond its limit answers may take long and requests may not begin; but none may fail, and at half of the steps the
// 99th percentile must still be below P99_MS.
//
//     PEAK     requests a second of the last step, by default 4000
//     STEPS    by default 8
//     SECONDS  of all steps together, by default 40
//     VUS      requests at once, by default 200
//
// With `--vus 64 --duration 5s --no-thresholds` it is a closed loop instead, and tells how many there are at most.
import exec from 'k6/execution';
import { ask, counted, number, options as common, pick, thresholds } from './common.js';

const PEAK = number('PEAK', 4000);
const STEPS = number('STEPS', 8);
const SECONDS = number('SECONDS', 40);
const VUS = number('VUS', 200);

const steps = Array.from({ length: STEPS }, (_, n) => n);
const stages = steps.flatMap((n) => {
  const target = Math.round((PEAK * (n + 1)) / STEPS);
  return [{ target, duration: '0s' }, { target, duration: `${SECONDS / STEPS}s` }];
});
const half = Math.max(0, Math.floor(STEPS / 2) - 1);

export const options = common({
  scenarios: {
    stress: {
      executor: 'ramping-arrival-rate',
      startRate: 0,
      timeUnit: '1s',
      stages,
      preAllocatedVUs: VUS,
      maxVUs: VUS,
      gracefulStop: '60s',
    },
  },
  thresholds: {
    ...thresholds(PEAK * SECONDS, {
      ...counted(steps.map((n) => `http_reqs{step:${n}}`)),
      ...counted(steps.map((n) => `http_req_duration{step:${n}}`)),
    }),
    // Beyond the limit not all that is due can be sent.
    ...counted(['http_reqs']),
    [`http_req_duration{step:${half}}`]: [`p(99)<${number('P99_MS', 250)}`],
  },
});

export default function () {
  ask(pick(), { step: String(Math.min(STEPS - 1, Math.floor(exec.scenario.progress * STEPS))) });
}
