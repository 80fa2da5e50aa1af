// What all scripts share: where the proxy is, numbers from the environment, the mix of paths, and what is counted.
//
//     BASE     the proxy, by default http://127.0.0.1:8080
//     PATHS    a file with a path on each line, the most popular first; by default TARGET alone is asked for
//     TARGET   a path, by default /
//     ZIPF     how unequal the paths are, 0 to 2, by default 0.9; 0 is all alike
//     P99_MS   what the 99th percentile must stay below
//
// Every rate is an open loop: requests begin when they are due, whatever became of those before them. One that is due
// while all VUS are busy, or while k6 itself has no time, is never sent: more than one of a hundred of these fail the run.
import http from 'k6/http';
import { check } from 'k6';
import { SharedArray } from 'k6/data';

export const BASE = __ENV.BASE || 'http://127.0.0.1:8080';
const ZIPF = number('ZIPF', 0.9);

// One copy for all virtual users. A path that ends in a number is one whose body has so many octets.
const paths = new SharedArray('paths', () => (__ENV.PATHS ? open(__ENV.PATHS).trim().split('\n') : [__ENV.TARGET || '/']));

http.setResponseCallback(http.expectedStatuses(200));

export function number(name, otherwise) {
  const given = __ENV[name];
  if (given === undefined || given === '') return otherwise;
  const value = Number(given);
  if (Number.isNaN(value)) throw new Error(`${name} is a number, not \`${given}\``);
  return value;
}

// A rank by Zipf's law, of its continuous form: no table of 100,000 weights for each virtual user.
function rank(count) {
  const u = Math.random();
  const x = ZIPF === 1 ? Math.pow(count + 1, u) : Math.pow((Math.pow(count + 1, 1 - ZIPF) - 1) * u + 1, 1 / (1 - ZIPF));
  return Math.min(count - 1, Math.floor(x) - 1);
}

export function pick() {
  return paths.length === 1 ? paths[0] : paths[rank(paths.length)];
}

// Asks, and checks the length where the path says it. One name for all paths: else k6 keeps a series for each.
export function ask(path, tags) {
  const answer = http.get(BASE + path, { tags: { name: 'mix', ...tags }, timeout: '60s' });
  const due = /\/(\d+)$/.exec(path);
  const whole = !due || answer.headers['Content-Length'] === due[1];
  check(answer, { '200': (a) => a.status === 200, whole: () => whole });
  return answer;
}

// A threshold that always holds: k6 sums up a part of a metric only where one is named.
export function counted(metrics) {
  const always = { http_reqs: 'count>=0', http_req_duration: 'max>=0', dropped_iterations: 'count>=0', hits: 'rate>=0' };
  return Object.fromEntries(metrics.map((metric) => [metric, [always[metric.split('{')[0]]]]));
}

const statuses = counted([0, 404, 500, 502, 503, 504].map((status) => `http_reqs{status:${status}}`));

// No answer fails, nothing is cut, and what was due was sent.
export function thresholds(requests, more) {
  return {
    ...statuses,
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_reqs: [sent(requests)],
    ...counted(['dropped_iterations']),
    ...more,
  };
}

// dropped_iterations does not count what k6 came too late to for even dropping it.
export function sent(requests) {
  return `count>=${Math.floor(requests * 0.99)}`;
}

export function options(more) {
  return {
    discardResponseBodies: true,
    summaryTrendStats: ['avg', 'p(50)', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
    ...more,
  };
}

// A rate that stays.
export function steady(rate, seconds, users) {
  return {
    executor: 'constant-arrival-rate',
    rate,
    timeUnit: '1s',
    duration: `${seconds}s`,
    preAllocatedVUs: users,
    maxVUs: users,
    gracefulStop: '60s',
  };
}
