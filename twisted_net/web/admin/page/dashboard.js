// The dashboard: reads /metrics every two seconds and draws what has changed, and lists connections.
// No markup is ever parsed: everything is made with createElement and textContent.

const EVERY = 2000; // milliseconds between two readings
const KEPT = 150; // readings: five minutes
const LEAST_SPAN = 30; // readings that fill a chart
const PREFIX = "twisted_net_";
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const headers = {};

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// Of several services, one is meant: the first, or that of the address of this page.
const shown = new URLSearchParams(location.search).get("service");
const ofService = (path) => (shown === null ? path : `${path}${path.includes("?") ? "&" : "?"}service=${encodeURIComponent(shown)}`);

async function ask(path, options = {}) {
  const answer = await fetch(ofService(path), { ...options, headers: { ...headers, ...options.headers }, credentials: "omit", cache: "no-store" });
  if (!answer.ok) {
    const body = await answer.text();
    let text = body.trim();
    try { text = JSON.parse(body).error; } catch { /* it is text */ }
    throw new Refused(answer.status, text);
  }
  return answer;
}

const askJson = async (path) => (await ask(path)).json();

const act = (path, body = {}) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "X-Netchat-Admin": "1", "Content-Type": "application/json" } });

// The text format of Prometheus.

function parseMetrics(text) {
  const found = new Map(); // name -> [{labels, value}]
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    const name = match[1].startsWith(PREFIX) ? match[1].slice(PREFIX.length) : match[1];
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels, value: Number(match[3]) });
  }
  return found;
}

const sum = (metrics, name, wanted = {}) =>
  (metrics.get(name) ?? [])
    .filter(({ labels }) => Object.entries(wanted).every(([key, value]) => labels[key] === value))
    .reduce((all, { value }) => all + value, 0);

const perLabel = (metrics, name, label) => {
  const found = new Map();
  for (const { labels, value } of metrics.get(name) ?? []) found.set(labels[label], (found.get(labels[label]) ?? 0) + value);
  return found;
};

// The duration below which a part of those since the last reading lie, in seconds.
function quantile(now, before, name, part) {
  const earlier = new Map((before?.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [labels.le, value]));
  const buckets = (now.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [labels.le === "+Inf" ? Infinity : Number(labels.le), value - (earlier.get(labels.le) ?? 0)]);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (!all) return null;
  let low = 0, counted = 0;
  for (const [bound, count] of buckets) {
    if (count >= part * all) {
      if (bound === Infinity) return low;
      return low + ((bound - low) * (part * all - counted)) / Math.max(1, count - counted);
    }
    [low, counted] = [bound, count];
  }
  return low;
}

// How numbers are shown.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const count = (value) => (value >= 100 || Number.isInteger(value) ? whole : short).format(value);
const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

function bytes(value) {
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1000) return `${short.format(value)} ${unit}`;
    value /= 1000;
  }
  return `${short.format(value)} TB`;
}

function duration(seconds) {
  if (!seconds) return "0 s";
  if (seconds < 1) return `${short.format(seconds * 1000)} ms`;
  if (seconds < 90) return `${whole.format(seconds)} s`;
  if (seconds < 5400) return `${whole.format(seconds / 60)} min`;
  return seconds < 129600 ? `${whole.format(seconds / 3600)} h` : `${whole.format(seconds / 86400)} d`;
}

// Charts.

function make(tag, text = "", className = "") {
  const found = document.createElement(tag);
  found.textContent = text;
  if (className) found.className = className;
  return found;
}

function sparkline(label) {
  const svg = document.createElementNS(SVG, "svg");
  const area = document.createElementNS(SVG, "polygon");
  const line = document.createElementNS(SVG, "polyline");
  svg.setAttribute("class", "line");
  svg.setAttribute("preserveAspectRatio", "none");
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else svg.setAttribute("aria-hidden", "true");
  svg.append(area, line);
  const draw = (values) => {
    const most = Math.max(...values, 1e-9);
    const last = Math.max(LEAST_SPAN, values.length) - 1;
    const first = last + 1 - values.length;
    svg.setAttribute("viewBox", `0 0 ${last} 100`);
    const points = values.map((value, at) => `${first + at},${(100 - (96 * value) / most).toFixed(1)}`);
    line.setAttribute("points", points.join(" "));
    area.setAttribute("points", points.length ? `${first},100 ${points.join(" ")} ${last},100` : "");
  };
  return { svg, draw };
}

class Chart {
  constructor(title, show, read) {
    this.show = show;
    this.read = read;
    this.values = [];
    this.box = make("section", "", "chart");
    this.figure = make("p", "–");
    this.most = make("small");
    const { svg, draw } = sparkline(`${title}, the last five minutes`);
    this.draw = draw;
    this.box.append(make("h2", title), this.figure, svg, this.most);
  }

  add(now, before, seconds) {
    const value = this.read(now, before, seconds);
    if (value === undefined) return;
    this.values.push(value ?? 0);
    if (this.values.length > KEPT) this.values.shift();
    this.figure.textContent = value === null ? "–" : this.show(value);
    this.most.textContent = `at most ${this.show(Math.max(...this.values))}`;
    this.draw(this.values);
  }
}

const rate = (name) => (now, before, seconds) => (before ? Math.max(0, sum(now, name) - sum(before, name)) / seconds : undefined);
const late = (name) => (now, before) => (now.has(`${name}_bucket`) && before ? quantile(now, before, name, 0.99) : undefined);

const charts = [
  new Chart("Connections", count, (now) => sum(now, "connections")),
  new Chart("New connections a second", count, rate("connections_accepted_total")),
  new Chart("Messages received a second", count, rate("received_messages_total")),
  new Chart("Deliveries a second", count, rate("sent_messages_total")),
  new Chart("Received a second", bytes, rate("received_bytes_total")),
  new Chart("Sent a second", bytes, rate("sent_bytes_total")),
  new Chart("Latency: a turn of the reactor, 99 %", duration, late("reactor_turn_duration_seconds")),
  new Chart("Latency: storing messages, 99 %", duration, late("store_append_duration_seconds")),
  new Chart("Queued for slow clients", bytes, (now) => sum(now, "queued_bytes")),
  new Chart("Dropped messages a second", count, rate("dropped_messages_total")),
];
byId("charts").append(...charts.map((chart) => chart.box));

// Tables of reasons.

class Reasons {
  constructor(id, name) {
    this.body = byId(id);
    this.name = name;
    this.rows = new Map();
    this.seen = []; // readings: [time, counts]
    this.none = this.body.insertRow();
    this.none.append(make("td", "none so far", "none"));
    this.none.firstChild.colSpan = 4;
  }

  add(now, time) {
    const counts = perLabel(now, this.name, "reason");
    this.seen.push([time, counts]);
    if (this.seen.length > KEPT) this.seen.shift();
    const minute = this.seen.find(([then]) => time - then <= 60000) ?? this.seen[0];
    for (const [reason, all] of [...counts].sort((a, b) => b[1] - a[1])) {
      if (!all) continue;
      this.none.remove();
      if (!this.rows.has(reason)) this.rows.set(reason, this.row(reason));
      const row = this.rows.get(reason);
      row.all.textContent = count(all);
      row.rate.textContent = count(all - (minute[1].get(reason) ?? 0));
      row.draw(this.seen.map(([, each], at) => Math.max(0, (each.get(reason) ?? 0) - (this.seen[Math.max(0, at - 1)][1].get(reason) ?? 0))));
      this.body.append(row.tr);
    }
  }

  row(reason) {
    const tr = make("tr");
    const { svg, draw } = sparkline("");
    const [all, each, course] = [make("td", "", "number"), make("td", "", "number"), make("td")];
    course.append(svg);
    tr.append(make("td", reason), all, each, course);
    return { tr, all, rate: each, draw };
  }
}

const reasons = [new Reasons("endings", "connections_ended_total"), new Reasons("refusals", "connections_refused_total")];

// Lists.

const cell = (text, className = "") => {
  const td = make("td", text, className);
  if (className === "text") td.title = text;
  return td;
};

function fill(body, rows, columns) {
  const kept = body.contains(document.activeElement) && document.activeElement.dataset.key;
  body.replaceChildren(...rows);
  if (!rows.length) {
    const tr = make("tr");
    const td = make("td", "none", "none");
    td.colSpan = columns;
    tr.append(td);
    body.append(tr);
  }
  if (kept) focusOn(body, kept);
}

/** Focus a button of a list. If its row is gone, another row's is not meant: the list itself. */
function focusOn(body, key) {
  const button = body.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (button ?? body.closest(".scroll")).focus();
}

let after = null, next = null, hasNames = false;

function connectionColumns() {
  const found = [["Number", "number"], ["From", ""]];
  if (hasNames) found.push(["Name", ""], ["Rooms", ""]);
  return [...found, ["Form", ""], ["State", ""], ["Open for", "number"], ["Received", "number"], ["Sent", "number"], ["Messages", "number"], ["Queued", "number"], ["", ""]];
}

function connectionRow(each) {
  const tr = make("tr");
  tr.append(cell(each.id, "number"), cell(each.upstream ? `${each.peer} → ${each.upstream.peer}` : each.peer, "text"));
  if (hasNames) tr.append(cell(each.name, "text"), cell(each.rooms.map((room) => `#${room}`).join(" "), "text"));
  tr.append(
    cell(each.form), cell(each.state.replace("_", " ")), cell(duration(each.seconds), "number"), cell(bytes(each.bytes_received), "number"),
    cell(bytes(each.bytes_sent), "number"), cell(`${count(each.messages_received)} / ${count(each.messages_sent)}`, "number"), cell(bytes(each.queued), "number"),
  );
  const buttons = make("td");
  for (const [text, key, does] of [["Look", `look-${each.id}`, () => look(each)], ["Close", `close-${each.id}`, () => close(each)]]) {
    const button = make("button", text);
    button.type = "button";
    button.dataset.key = key;
    button.setAttribute("aria-label", `${text}: connection ${each.id}`);
    button.addEventListener("click", does);
    buttons.append(button);
  }
  tr.append(buttons);
  return tr;
}

/** Enable a button or disable it. If that had the focus, the list has it. */
function setEnabled(id, isEnabled) {
  const button = byId(id);
  const hadFocus = button === document.activeElement;
  button.disabled = !isEnabled;
  if (hadFocus && !isEnabled) byId("connections-body").closest(".scroll").focus();
}

async function listConnections() {
  const query = new URLSearchParams({ sort: byId("sort").value });
  if (after) query.set("after", after);
  if (byId("room").value) query.set("room", byId("room").value.replace(/^#/, ""));
  const page = await askJson(`/connections?${query}`);
  next = page.next;
  setEnabled("more", next);
  setEnabled("first", after);
  byId("connections-title").textContent = `Connections: ${count(page.connections.length)} of ${count(page.total)}`;
  if (page.connections.length) hasNames = "rooms" in page.connections[0];
  const head = make("tr");
  for (const [text, className] of connectionColumns()) {
    const th = make("th", text, className);
    th.scope = "col";
    if (!text) th.append(make("span", "Actions", "sr"));
    head.append(th);
  }
  byId("connections-head").replaceChildren(head);
  fill(byId("connections-body"), page.connections.map(connectionRow), connectionColumns().length);
  return page;
}

async function listEnded() {
  const page = await askJson("/ended");
  const rows = page.ended.map((each) => {
    const tr = make("tr");
    const why = each.detail ? `${each.reason} (${each.detail})` : each.reason;
    tr.append(
      cell(each.id, "number"), cell(each.peer, "text"), cell(each.name, "text"), cell(why, "text"), cell(new Date(each.time * 1000).toLocaleTimeString()),
      cell(duration(each.seconds), "number"), cell(bytes(each.bytes_received), "number"), cell(bytes(each.bytes_sent), "number"),
    );
    return tr;
  });
  fill(byId("ended"), rows, 8);
  return page;
}

async function listRooms(metrics) {
  if (!metrics.has("rooms")) return {};
  byId("rooms-section").hidden = byId("room-label").hidden = false;
  const page = await askJson("/rooms");
  byId("rooms-title").textContent = `Rooms: ${count(page.total)}`;
  fill(byId("rooms"), page.rooms.map((room) => {
    const tr = make("tr");
    tr.append(cell(`#${room.name}`, "text"), cell(count(room.members), "number"));
    return tr;
  }), 2);
  return page;
}

let closing = null;

function close({ id, name }) {
  closing = id;
  byId("sure-title").textContent = name ? `Close connection ${id}: ${name}?` : `Close connection ${id}?`;
  byId("why").value = "";
  byId("sure").showModal();
}

async function closeNow() {
  byId("sure").close();
  await act(`/connections/${closing}/close`, { text: byId("why").value }).catch(complain);
  await listConnections().catch(complain);
}

// The list has been drawn again meanwhile, so the browser cannot give the focus back by itself.
byId("sure").addEventListener("close", () => focusOn(byId("connections-body"), `close-${closing}`));
byId("sure-yes").addEventListener("click", closeNow);
byId("sure-no").addEventListener("click", () => byId("sure").close());
byId("why").addEventListener("keydown", (event) => { if (event.key === "Enter") closeNow(); });

// Looking on at one connection.

let looking = null, lookingAt = null;

async function look({ id, name }) {
  const log = byId("tap-log");
  log.replaceChildren();
  byId("tap-title").textContent = name ? `Connection ${id}: ${name}` : `Connection ${id}`;
  byId("tap").showModal();
  lookingAt = id;
  looking = new AbortController();
  try {
    const answer = await ask(`/connections/${id}/tap`, { signal: looking.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) showLine(log, JSON.parse(line));
    }
  } catch (error) {
    if (error.name !== "AbortError") log.append(make("span", `${error.message}\n`, "gap"));
  }
}

function showLine(log, line) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  let text = "", kind = line.dir ?? "";
  if (line.gap) [text, kind] = [`… ${counted(line.gap, "line was", "lines were")} missed …`, "gap"];
  else if (line.ended) text = `ended: ${line.ended} ${line.detail ?? ""}`;
  else if (line.tap) text = `looking on at ${line.peer}`;
  else text = `${line.dir === "in" ? "→" : "←"} ${line.text ?? (line.base64 ? `${counted(line.size, "byte")}: ${line.base64}` : "a message over the limit")}`;
  const time = line.time ? `${new Date(line.time * 1000).toLocaleTimeString()} ` : "";
  log.append(make("span", `${time}${text}\n`, kind));
  while (log.childElementCount > 2000) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

byId("tap").addEventListener("close", () => {
  looking?.abort();
  focusOn(byId("connections-body"), `look-${lookingAt}`);
});
byId("tap-close").addEventListener("click", () => byId("tap").close());

// Reading, again and again.

function complain(error) {
  if (error.status === 401) {
    byId("login").hidden = false;
    byId("login-error").textContent = headers.Authorization ? "This token is wrong." : "";
    byId("token").focus();
    byId("token").select(); // a wrong one is typed over
    return;
  }
  const problem = byId("problem");
  problem.hidden = false;
  problem.textContent = error instanceof Refused ? error.message : "The server does not answer.";
}

function showMissing(workers) {
  const problem = byId("problem");
  const text = workers.size ? `Not answering, and missing here: worker ${[...workers].sort((a, b) => a - b).join(", ")}` : "";
  problem.hidden = !text;
  if (problem.textContent !== text) problem.textContent = text;
}

function state(text, className) {
  byId("state").className = className;
  if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
}

function showServices(names) {
  const title = names.includes(shown) ? shown : names.join(", ");
  if (document.title === title) return;
  document.title = title;
  const links = names.map((name) => {
    const link = make("a", name);
    link.href = `/?service=${encodeURIComponent(name)}`;
    if (name === (shown ?? names[0])) link.setAttribute("aria-current", "page");
    return link;
  });
  byId("service").replaceChildren(...(names.length > 1 ? links.flatMap((link) => [link, " "]) : names));
}

let before = null, readAt = 0, again = 0;

async function read() {
  clearTimeout(again);
  try {
    const time = performance.now();
    const now = parseMetrics(await (await ask("/metrics")).text());
    for (const chart of charts) {
      chart.add(now, before, (time - readAt) / 1000);
      chart.box.hidden = !chart.values.length;
    }
    for (const each of reasons) each.add(now, time);
    [before, readAt] = [now, time];
    // While no worker serves, there is neither of them.
    const build = now.get("build_info")?.[0].labels;
    if (build) byId("build").textContent = `twisted_net ${build.version}, Twisted ${build.twisted}, Python ${build.python}, OpenSSL ${build.openssl}`;
    const ready = now.get("ready") ?? [];
    if (ready.length) showServices(ready.map(({ labels }) => labels.service));
    if (ready.length && sum(now, "ready") === ready.length) state("ready", "ready");
    else state(await (await fetch("/readyz", { cache: "no-store" })).text(), "bad");
    const isTyping = byId("login").contains(document.activeElement);
    byId("login").hidden = true;
    if (isTyping) byId("main").focus();
    const lists = await Promise.all([listConnections(), listEnded(), listRooms(now)]);
    showMissing(new Set(lists.flatMap((list) => list.missing_workers ?? [])));
  } catch (error) {
    state("not answering", "bad");
    complain(error);
    if (error.status === 401) {
      state("a token is needed", "");
      return;
    }
  }
  again = setTimeout(read, document.hidden ? 5 * EVERY : EVERY);
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  headers.Authorization = `Bearer ${byId("token").value}`;
  read();
});
byId("sort").addEventListener("change", () => { after = null; listConnections().catch(complain); });
byId("room").addEventListener("change", () => { after = null; listConnections().catch(complain); });
byId("first").addEventListener("click", () => { after = null; listConnections().catch(complain); });
byId("more").addEventListener("click", () => { after = next; listConnections().catch(complain); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) read(); });
read();
