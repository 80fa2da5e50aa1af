// Smoke: does it work at all? The greeting of docker/apps, read by many and written by one, who must see what they wrote.
//
//     RATE     reads a second, by default 50; there is one write a second beside them
//     SECONDS  by default 10
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
import { BASE, number, options as common, steady, thresholds } from './common.js';

const RATE = number('RATE', 50);
const SECONDS = number('SECONDS', 10);

export const options = common({
  discardResponseBodies: false,
  scenarios: {
    read: { ...steady(RATE, SECONDS, Math.max(20, RATE)), exec: 'read' },
    write: { ...steady(1, SECONDS, 1), exec: 'write' },
  },
  thresholds: thresholds(RATE * SECONDS, { http_req_duration: [`p(99)<${number('P99_MS', 500)}`] }),
});

export function read() {
  const answer = http.get(`${BASE}/`, { tags: { name: 'greeting' } });
  check(answer, { 'a greeting': (a) => a.status === 200 && /^(Hello, World!|written \d+)$/.test(a.body) });
}

export function write() {
  const text = `written ${exec.scenario.iterationInTest}`;
  const answer = http.post(`${BASE}/update/${encodeURIComponent(text)}`, null, { tags: { name: 'update' } });
  check(answer, { updated: (a) => a.status === 200 && a.body === `updated to: ${text}` });
  const after = http.get(`${BASE}/`, { tags: { name: 'greeting' } });
  check(after, { 'reads what it wrote': (a) => a.body === text });
}
