'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const KEY = 'forebay-token';
  const SVG = 'http://www.w3.org/2000/svg';
  const GAP = '\u2009', NONE = '\u2013';
  let heard = 0, latest = null;

  // Numbers as people read them.
  const trim = (n, digits) => n.toLocaleString('en', { maximumFractionDigits: digits });
  const count = (n) => n == null ? NONE : n >= 1e9 ? trim(n / 1e9, 1) + 'G' : n >= 1e6 ? trim(n / 1e6, 1) + 'M'
    : n >= 1e4 ? trim(n / 1e3, n >= 1e5 ? 0 : 1) + 'k' : trim(n, n < 10 ? 1 : 0);
  const percent = (n) => n == null ? NONE : (n >= 0.9995 ? '100' : (n * 100).toFixed(1)) + GAP + '%';
  const pair = (n, unit) => n + GAP + unit;
  const bytes = (n) => {
    if (n == null) return NONE;
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let at = 0;
    while (n >= 1000 && at < units.length - 1) { n /= 1024; at += 1; }
    return pair(trim(n, at > 0 && n < 10 ? 1 : 0), units[at]);
  };
  const millis = (n) => n == null ? NONE : n < 1 ? pair(Math.round(n * 1000), '\u00b5s')
    : n < 1000 ? pair(trim(n, n < 10 ? 1 : 0), 'ms') : pair(trim(n / 1000, n < 10000 ? 1 : 0), 's');
  const time = (s) => {
    if (s < 0) return '\u2212' + time(-s);
    if (s < 60) return pair(Math.floor(s), 's');
    if (s < 3600) return pair(Math.floor(s / 60), 'min');
    if (s < 86400) return pair(trim(s / 3600, 1), 'h');
    return pair(trim(s / 86400, 1), 'd');
  };

  const put = (id, text) => { const it = $(id); if (it.textContent !== text) it.textContent = text; };
  // Big numbers have their unit smaller.
  const tell = (id, text) => {
    const [number, unit] = text.split(GAP);
    const it = $(id);
    it.textContent = number;
    if (unit) { const i = document.createElement('i'); i.textContent = unit; it.append(i); }
  };
  const make = (tag, content, className) => {
    const it = document.createElement(tag);
    if (className) it.className = className;
    it.append(...[content].flat().filter((part) => part != null && part !== ''));
    return it;
  };
  const none = (text) => make('p', text, 'none');

  // Charts: five minutes from left to right, whatever the window's width.
  const draw = (name, attributes, parent) => {
    const it = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
    parent.append(it);
    return it;
  };
  const LEFT = 40, RIGHT = 4, TOP = 8, BOTTOM = 18, STEPS = 300;
  const nice = (most) => {
    if (most <= 0) return 1;
    const power = 10 ** Math.floor(Math.log10(most));
    return [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= most * 0.999);
  };
  const plot = (svg, series, scale) => {
    const box = svg.getBoundingClientRect();
    const width = Math.max(box.width, 120), height = Math.max(box.height, 80);
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const down = height - TOP - BOTTOM;
    const y = (value) => TOP + down * (1 - Math.min(1, Math.max(0, scale.at(value))));
    const x = (fromEnd) => width - RIGHT - (width - LEFT - RIGHT) * fromEnd / (STEPS - 1);
    for (const mark of scale.marks) {
      const at = Math.round(y(mark.value)) + 0.5;
      draw('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: at, y2: at }, svg);
      draw('text', { x: LEFT - 6, y: at + 4, 'text-anchor': 'end' }, svg).textContent = mark.text;
    }
    for (const [ago, text] of [[0, 'now'], [120, '2 min'], [240, '4 min']]) {
      draw('text', { x: x(ago), y: height - 3, 'text-anchor': ago ? 'middle' : 'end' }, svg).textContent = text;
    }
    for (const { values, className, area, base } of series) {
      let runs = [], run = null;
      values.forEach((value, index) => {
        const fromEnd = values.length - 1 - index;
        if (value == null || fromEnd >= STEPS) { run = null; return; }
        if (!run) { run = []; runs.push(run); }
        run.push([x(fromEnd), y(value), y(base ? base[index] : 0)]);
      });
      const path = (points) => points.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join('L');
      for (const points of runs) {
        if (area) {
          const back = points.map(([px, , b]) => [px, b]).reverse();
          draw('path', { class: `area ${className}`, d: `M${path(points)}L${path(back)}Z` }, svg);
        }
        const [px, py] = points[0];
        const d = points.length > 1 ? `M${path(points)}` : `M${px - 1} ${py}L${px + 1} ${py}`;
        draw('path', { class: `curve ${className}`, d }, svg);
      }
    }
    return { x, width };
  };
  const linear = (most, text) => {
    const top = nice(most);
    return { at: (v) => v / top, marks: [0, top / 2, top].map((value) => ({ value, text: text(value) })) };
  };
  // Hits and misses lie far apart.
  const decades = (least, most) => {
    const low = Math.floor(Math.log10(least)), high = Math.max(low + 1, Math.ceil(Math.log10(most)));
    const marks = [];
    const every = high - low > 4 ? 2 : 1;
    for (let p = low; p <= high; p += every) marks.push({ value: 10 ** p, text: millis(10 ** p).replace(GAP, ' ') });
    return { at: (v) => (Math.log10(Math.max(v, 10 ** low)) - low) / (high - low), marks };
  };

  // What a finger or a pointer is at.
  const pointed = {};
  const readable = (id, text) => {
    const svg = $('c-' + id);
    const move = (event) => {
      const box = svg.getBoundingClientRect();
      const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      pointed[id] = Math.round((1 - Math.min(1, Math.max(0, part))) * (STEPS - 1));
      cursor(id, text);
    };
    svg.addEventListener('pointermove', move);
    svg.addEventListener('pointerdown', move);
    svg.addEventListener('pointerleave', () => { delete pointed[id]; cursor(id, text); });
    texts[id] = text;
  };
  const texts = {};
  const cursor = (id, text) => {
    const svg = $('c-' + id);
    svg.querySelector('.cursor')?.remove();
    const ago = pointed[id], h = latest?.history;
    const index = h && ago != null ? h.requests.length - 1 - ago : -1;
    if (index < 0) { put('r-' + id, ''); return; }
    const { x } = svg.plotted;
    const at = Math.round(x(ago)) + 0.5;
    const height = svg.getBoundingClientRect().height;
    draw('line', { class: 'cursor', x1: at, x2: at, y1: TOP, y2: height - BOTTOM }, svg);
    put('r-' + id, `${ago ? time(ago) + ' ago' : 'now'}: ${text(h, index)}`);
  };

  const charts = (h) => {
    const others = h.requests.map((all, i) => Math.max(0, all - h.cached[i]));
    const most = Math.max(1, ...h.requests);
    $('c-requests').plotted = plot($('c-requests'), [
      { values: h.requests, base: h.cached, className: 'up', area: true },
      { values: h.cached, className: 'cache', area: true },
      { values: h.errors.map((e) => e > 0 ? e : null), className: 'bad' },
    ], linear(most, count));
    $('c-ratio').plotted = plot($('c-ratio'), [{ values: h.hit_ratio, className: 'cache', area: true }],
      { at: (v) => v, marks: [0, 0.5, 1].map((value) => ({ value, text: value * 100 + ' %' })) });
    const known = [...h.hit_p99_ms, ...h.miss_p99_ms].filter((v) => v != null && v > 0);
    $('c-latency').plotted = plot($('c-latency'), [
      { values: h.miss_p99_ms, className: 'up' },
      { values: h.hit_p99_ms, className: 'cache' },
    ], decades(Math.min(0.1, ...known), Math.max(10, ...known)));
    for (const [id, text] of Object.entries(texts)) cursor(id, text);
    return others;
  };
  readable('requests', (h, i) => `${count(h.requests[i])} a second, ${count(h.cached[i])} from the cache`
    + (h.errors[i] ? `, ${count(h.errors[i])} errors` : ''));
  readable('ratio', (h, i) => percent(h.hit_ratio[i]));
  readable('latency', (h, i) => `cache ${millis(h.hit_p99_ms[i])}, upstream ${millis(h.miss_p99_ms[i])}`);

  const table = (id, heads, rows, empty) => {
    if (!rows.length) { $(id).replaceChildren(none(empty)); return; }
    const it = document.createElement('table');
    const group = document.createElement('colgroup');
    heads.forEach(([, kind], i) => group.append(make('col', [], i ? (kind ? `n ${kind}` : 'n') : '')));
    const top = make('tr', heads.map(([text, kind]) => make('th', text, kind)));
    const body = rows.map((cells) => make('tr', cells.map((cell, i) => {
      const td = make('td', cell.content ?? cell, heads[i][1]);
      if (cell.title) td.title = cell.title;
      return td;
    })));
    it.append(group, make('thead', top), make('tbody', body));
    $(id).replaceChildren(it);
  };
  const link = (url) => {
    const at = url.indexOf('/', url.indexOf('://') + 3);
    const cut = at < 0 ? url.length : at;
    return { content: [url.slice(cut) || '/', ' ', make('span', url.slice(0, cut).replace(/^\w+:\/\//, ''), 'dim')], title: url };
  };
  const list = (id, pairs) => $(id).replaceChildren(...pairs.flatMap(([what, value]) => [make('dt', what), make('dd', value)]));

  const entries = (id, rows, empty) => table(id,
    [['', ''], ['hits', ''], ['cost', ''], ['size', 'less'], ['fresh for', 'less']],
    rows.slice(0, 10).map((e) => [link(e.url), count(e.hits), millis(e.cost_ms), bytes(e.bytes), time(e.ttl_s)]), empty);

  const STATES = { up: 'good', starting: 'warn', ejected: 'warn', unresolved: 'warn' };
  const upstreams = (all) => {
    if (!all.length) { $('upstreams').replaceChildren(make('li', none('None: every route answers by itself.'))); return; }
    const lines = all.flatMap((u) => {
      const waits = [u.held ? `${count(u.held)} held` : '', u.queued ? `${count(u.queued)} queued` : ''].filter(Boolean);
      const single = u.servers.length === 1;
      const word = single ? u.servers[0].state : u.available ? '' : 'nobody available';
      const state = single ? STATES[u.servers[0].state] ?? 'bad' : u.available ? 'good' : 'bad';
      const busy = single && u.servers[0].in_flight ? `${count(u.servers[0].in_flight)} in flight` : '';
      const of = make('li', [make('span', u.name, `dot ${state}`), make('span', [word, busy, ...waits].filter(Boolean).join(', '))]);
      const why = (reason) => reason ? [make('li', make('span', reason), 'why')] : [];
      if (single) return [of, ...why(u.servers[0].reason)];
      return [of, ...u.servers.slice(0, 20).flatMap((s) => [
        make('li', [make('span', s.addr ?? s.server, `dot ${STATES[s.state] ?? 'bad'}`),
          make('span', s.state + (s.in_flight ? `, ${count(s.in_flight)} in flight` : ''))], 'sub'), ...why(s.reason)])];
    });
    $('upstreams').replaceChildren(...lines);
  };
  const events = (all, now) => $('events').replaceChildren(...(all.length ? all.slice(0, 12).map((e) =>
    make('li', [make('span', `${e.kind}: ${e.text}`, `dot ${e.ok ? 'good' : 'bad'}`), make('span', time(now - e.at) + ' ago')]))
    : [make('li', none('None yet.'))]));
  const latency = (id, q) => {
    tell(`t-${id}`, millis(q.p50_ms));
    put(`t-${id}-more`, q.p99_ms == null ? 'none this minute' : `median, p99 ${millis(q.p99_ms)}`);
  };

  const show = (s) => {
    latest = s;
    document.title = `${s.name} \u00b7 Forebay`;
    put('name', s.name);
    put('since', `${s.version} \u00b7 up ${time(s.uptime_s)}`);
    const down = s.upstreams.filter((u) => !u.available).length;
    const state = s.draining ? ['draining', 'warn'] : down ? [`${down} upstream${down > 1 ? 's' : ''} away`, 'bad'] : ['serving', 'good'];
    put('state', state[0]);
    $('state').className = `pill ${state[1]}`;
    const cached = s.rates.hit + s.rates.stale;
    tell('t-requests', pair(count(s.rates.requests), '/s'));
    put('t-requests-more', `${bytes(s.rates.bytes_out)}/s, ${count(s.totals.requests)} in all`);
    tell('t-ratio', percent(s.hit_ratio.minute));
    put('t-ratio-more', `${percent(s.hit_ratio.start)} since start`);
    latency('hit', s.latency.minute.hit);
    latency('miss', s.latency.minute.miss);
    tell('t-errors', pair(count(s.rates.errors), '/s'));
    put('t-errors-more', `${count(s.totals.errors)} in all`);
    $('errors').classList.toggle('alarm', s.rates.errors > 0);
    tell('t-saved', time(s.saved.origin_s));
    const rescued = s.saved.held + s.saved.retried;
    put('t-saved-more', `of origin time, ${bytes(s.saved.bytes)}` + (rescued ? `, ${count(rescued)} rescued` : ''));
    charts(s.history);
    upstreams(s.upstreams);
    const fill = s.cache.capacity_bytes ? s.cache.bytes / s.cache.capacity_bytes : 0;
    put('fill', `${bytes(s.cache.bytes)} of ${bytes(s.cache.capacity_bytes)}`);
    $('bar').style.width = `${Math.min(100, fill * 100)}%`;
    list('cache', [['Entries', count(s.cache.entries)], ['Evicted to make room', count(s.cache.evictions)],
      ['Fetches under way', count(s.waiting.fills)], ['Clients at them', count(s.waiting.followers)],
      ['Stale served', count(s.totals.stale)], ['Shared a fetch', count(s.totals.collapsed)]]);
    const p = s.process;
    list('now', [['From the cache', pair(count(cached), '/s')], ['Held until somebody answers', count(s.waiting.held)], ['Queued', count(s.waiting.queued)],
      ['Connections', `${count(s.connections.open)} of ${count(s.connections.limit)}`],
      ['Memory', bytes(p.resident_bytes)], ['Processors', p.cpus == null ? NONE : p.cpus.toFixed(2)],
      ['Open files', p.open_fds == null ? NONE : `${count(p.open_fds)} of ${count(p.max_fds)}`]]);
    entries('hottest', s.hottest, 'Nothing is stored.');
    entries('costliest', s.costliest, 'Nothing is stored.');
    table('routes', [['', ''], ['req/s', ''], ['hit', ''], ['miss', 'less'], ['errors', '']], s.routes.slice(0, 12).map((r) => [
      { content: r.name, title: r.name }, count(r.rates.requests), count(r.totals.hit + r.totals.stale),
      count(r.totals.miss + r.totals.collapsed + r.totals.revalidated), count(r.totals.errors)]), 'None.');
    events(s.events, s.now);
  };

  const trouble = (text) => {
    put('state', 'no answer');
    $('state').className = 'pill bad';
    $('views').classList.add('old');
    $('notice').hidden = false;
    put('notice', heard ? `${text} What is shown is ${time((Date.now() - heard) / 1000)} old.` : text);
    $('views').hidden = false;
  };
  const askForToken = (text) => {
    $('views').hidden = true;
    $('ask').hidden = false;
    put('state', 'token needed');
    $('state').className = 'pill warn';
    if (text) put('why', text);
    $('token').focus();
  };
  const look = async () => {
    const token = sessionStorage.getItem(KEY);
    try {
      const answer = await fetch('stats', { cache: 'no-store', headers: token ? { Authorization: `Bearer ${token}` } : {} });
      if (answer.status === 401) {
        sessionStorage.removeItem(KEY);
        return askForToken(token ? 'This is not the token of [admin] in proxy.toml.' : '');
      }
      if (!answer.ok) {
        const error = await answer.json().catch(() => ({}));
        trouble(error.error ?? `The listener answered ${answer.status}.`);
      } else {
        const stats = await answer.json();
        heard = Date.now();
        $('notice').hidden = true;
        $('views').hidden = false;
        $('views').classList.remove('old', 'empty');
        show(stats);
      }
    } catch (error) {
      trouble('The proxy does not answer.');
    }
    next();
  };
  let timer = 0;
  const next = () => {
    clearTimeout(timer);
    // Nobody looks: nobody asks.
    if (!document.hidden) timer = setTimeout(look, 1000);
  };
  document.addEventListener('visibilitychange', () => { if (!document.hidden && $('ask').hidden) look(); });
  window.addEventListener('resize', () => { if (latest) charts(latest.history); });
  $('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, $('token').value.trim());
    $('token').value = '';
    $('ask').hidden = true;
    look();
  });
  look();
})();
