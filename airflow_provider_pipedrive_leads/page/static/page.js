// The page: what is in records becomes text, never markup.
import { Refused, newestRecords, pageOf } from "./airflow.js";
import {
  SMALLEST_DAY, about, budgetOf, byConnection, count, duration, endOfDay, failuresOf, remedyFor, seconds, streamsOf,
} from "./facts.js";

const REFRESH_MILLISECONDS = 120000;
const SVG = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter(child => child !== null && child !== ""));
  return made;
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function moment(at, words) {
  const made = element("time", "", words);
  made.dateTime = made.title = new Date(at).toISOString();
  return made;
}

const ago = (at, now) => moment(at, `${duration(now - at)} ago`);

// Airflow shows this page in a frame that may not lead anywhere else; the link is followed in Airflow's own document.
function follow(event) {
  if (window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const link = window.parent.document.createElement("a");
  link.href = event.currentTarget.href;
  link.click();
}

function linkTo(record, ...children) {
  const made = element("a", "", ...children);
  made.href = pageOf(record);
  made.addEventListener("click", follow);
  return made;
}

function budgetBar(budget, scale) {
  const share = tokens => `${Math.min(Math.max(tokens / scale, 0), 1) * 100}%`;
  const parts = [["recorded", 0, budget.recorded], ["others", budget.recorded, budget.others]];
  if (budget.expected !== null) parts.push(["expected", budget.used, Math.max(budget.expected - budget.used, 0)]);
  const shapes = parts.map(([name, from, tokens]) =>
    drawn("rect", { class: name, x: share(from), width: share(Math.min(tokens, scale - from)), height: "100%" }));
  return drawn("svg", { class: "bar", role: "img", "aria-label": budgetInWords(budget) },
    drawn("rect", { class: "free", width: "100%", height: "100%" }), ...shapes);
}

function budgetInWords(budget) {
  const of = budget.size === null ? "" : ` of ${count(budget.size)}`;
  const expected = budget.expected === null ? "" : `, about ${about(budget.expected)} expected by the day's end`;
  return `About ${count(budget.used)}${of} API tokens used today${expected}.`;
}

function legend(budget) {
  const items = [["recorded", "by tasks recorded here", budget.recorded]];
  if (budget.left !== null) items.push(["others", "by everything else", budget.others]);
  if (budget.expected > budget.used) items.push(["expected", "still expected today, about", budget.expected - budget.used]);
  if (budget.left !== null) items.push(["free", "left", budget.left]);
  return element("ul", "legend", ...items.map(([name, words, tokens]) =>
    element("li", "", element("span", `swatch ${name}`), `${words} `,
      element("b", "", name === "expected" ? about(tokens) : count(tokens)))));
}

const BASES = {
  yesterday: "if the rest of the day goes as yesterday's",
  pace: "at the pace of today so far",
};

function budgetSection({ records }, now) {
  const budget = budgetOf(records, now);
  const scale = budget.size ?? Math.max(SMALLEST_DAY, budget.expected ?? 0, budget.used);
  const figure = budget.size === null
    ? [element("b", "figure", count(budget.used)), " API tokens used today"]
    : [element("b", "figure", count(budget.used)), ` of about ${count(budget.size)} API tokens used today`];
  const told = budget.toldAt === null
    ? "Pipedrive has not told today what is left: only tasks recorded here are counted."
    : ["Told by Pipedrive ", ago(budget.toldAt, now), "."];
  const yardstick = budget.size === null ? [` The bar stands for ${count(scale)}; the smallest plan has ${count(SMALLEST_DAY)} a day.`] : [];
  const over = budget.size !== null && budget.expected !== null && budget.expected > budget.size;
  const forecast = budget.expected === null ? "The day is too young for a forecast."
    : budget.expected === 0 ? "" : `About ${about(budget.expected)} by the day's end, ${BASES[budget.basis]}.`;
  const end = `The day ends in about ${duration(endOfDay(now) - now)}: midnight UTC is assumed, Pipedrive names no zone.`;
  return element("section", "panel budget",
    element("h3", "", "Today's API budget"),
    element("p", "", ...figure),
    budgetBar(budget, scale),
    legend(budget),
    element("p", over ? "warn" : "", forecast, over ? " The day's tokens will not suffice." : ""),
    element("p", "muted small", ...[told].flat(), ...yardstick, ` ${end}`));
}

function columns(points, valueOf, title, inWords) {
  const values = points.map(valueOf), tallest = Math.max(1, ...values.map(value => value ?? 0));
  const step = 8, height = 26;
  const shapes = points.map((point, place) => {
    const bad = point.outcome === "failed";
    const tall = Math.max((values[place] ?? 0) / tallest * (height - 2), 2);
    return drawn("rect", { class: bad ? "bad" : "good", x: place * step, y: height - tall, width: step - 2, height: tall });
  });
  const said = points.map((point, place) =>
    point.outcome === "failed" ? "failed" : values[place] === null ? point.outcome : inWords(values[place]));
  const label = `${title} of the last ${points.length} runs, oldest first: ${said.join(", ")}`;
  const width = points.length * step;
  return drawn("svg", { class: "columns", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height },
    ...shapes);
}

function chartCell(stream, name, title, inWords) {
  const last = stream.points.findLast(point => point[name] !== null && point.outcome === "success");
  const cell = element("td", "chart", columns(stream.points, point => point[name], title, inWords),
    element("span", "", last ? inWords(last[name]) : "–"));
  cell.dataset.label = title;
  return cell;
}

function cell(label, className, ...children) {
  const made = element("td", className, ...children);
  made.dataset.label = label;
  return made;
}

function streamRow(stream, now) {
  const head = element("th", "", linkTo(stream.last, stream.taskId),
    element("small", "", `${stream.kind} · ${stream.dagId}`));
  head.scope = "row";
  return element("tr", "", head,
    cell("Last run", "", ago(stream.last.at, now), element("small", stream.last.outcome, stream.last.outcome)),
    chartCell(stream, "rows", "Rows", count),
    chartCell(stream, "tokens", "Tokens", count),
    chartCell(stream, "seconds", "Seconds", seconds),
    cell("Data as of", "", stream.asOf === null ? "–" : ago(stream.asOf, now)));
}

const COLUMNS = ["Task", "Last run", "Rows", "Tokens", "Seconds", "Data as of"];

function streamsSection({ connection, records }, now) {
  const streams = streamsOf(records);
  const title = element("h3", "", "Exports and loads");
  if (!streams.length) {
    return element("section", "panel", title, element("p", "muted", "No export or load among the newest records."));
  }
  const heads = COLUMNS.map(name => {
    const head = element("th", "", name);
    head.scope = "col";
    return head;
  });
  const table = element("table", "", element("thead", "", element("tr", "", ...heads)),
    element("tbody", "", ...streams.map(stream => streamRow(stream, now))));
  // As cards on a phone, rows stay rows for those who do not see them.
  table.setAttribute("role", "table");
  for (const part of table.querySelectorAll("thead, tbody")) part.setAttribute("role", "rowgroup");
  for (const row of table.querySelectorAll("tr")) row.setAttribute("role", "row");
  for (const head of table.querySelectorAll("thead th")) head.setAttribute("role", "columnheader");
  for (const head of table.querySelectorAll("tbody th")) head.setAttribute("role", "rowheader");
  for (const data of table.querySelectorAll("td")) data.setAttribute("role", "cell");
  const scroll = element("div", "scroll", table);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Exports and loads of ${connection}`);
  return element("section", "panel", title, scroll);
}

function failureItem(failure, now) {
  const status = failure.status === null ? "" : ` (${failure.status})`;
  return element("li", "",
    element("p", "", linkTo(failure, `${failure.dagId} · ${failure.taskId}`), " ", element("span", "muted", ago(failure.at, now))),
    element("p", "", element("span", "error", `${failure.error ?? "Error"}${status}`),
      failure.call === null ? "" : element("span", "muted call", ` ${failure.call}`)),
    element("p", "", remedyFor(failure)));
}

function failuresSection({ records }, now) {
  const failures = failuresOf(records), title = element("h3", "", "Last errors");
  return element("section", "panel", title, failures.length
    ? element("ol", "failures", ...failures.map(failure => failureItem(failure, now)))
    : element("p", "muted", "None among the newest records."));
}

function connectionSection(group, now, place) {
  const title = element("h2", "", group.connection);
  title.id = `connection-${place}`;
  const made = element("section", "connection",
    element("div", "name", title, element("span", "muted", group.host ?? "")),
    element("div", "panels", budgetSection(group, now), failuresSection(group, now)),
    streamsSection(group, now));
  made.setAttribute("aria-labelledby", title.id);
  return made;
}

function emptySection() {
  return element("section", "panel empty",
    element("h2", "", "Nothing recorded yet"),
    element("p", "", "Every task with an operator of this provider leaves a record when it ends: what it read or wrote, the API "
      + "tokens it spent, and what went wrong. Run one, for example with PipedriveExportLeadsOperator, and press Refresh."),
    element("p", "muted", "Tasks with do_xcom_push=False leave none, and you see only those of DAGs that you may read."));
}

let shown = false;

function clear() {
  for (const id of ["connections", "read", "notes"]) byId(id).replaceChildren();
  shown = false;
}

function show({ records, total, listed }, now) {
  const groups = byConnection(records);
  byId("connections").replaceChildren(
    ...(groups.length ? groups.map((group, place) => connectionSection(group, now, place)) : [emptySection()]));
  shown = groups.length > 0;
  byId("read").replaceChildren("Read at ", moment(now, `${new Date(now).toISOString().slice(11, 16)} UTC`));
  const some = total > listed ? `These are the newest ${count(listed)} of ${count(total)} records. ` : "";
  const unread = listed > records.length ? `${count(listed - records.length)} of them cannot be read here. ` : "";
  byId("notes").textContent = shown
    ? `${some}${unread}Sensors and triggers leave no records; their tokens are in what Pipedrive tells.` : "";
}

function inWords(problem) {
  const status = problem instanceof Refused ? problem.status : null;
  if (status === 401) return "Your login to Airflow has ended. Reload Airflow and log in again.";
  if (status === 403) {
    return "Your Airflow user may not read XComs, where tasks keep these records. Ask an administrator for the permission "
      + "to read XComs of the DAGs that you want to see (\"can read on XComs\" in role-based setups).";
  }
  const what = status === null ? "Airflow does not answer." : problem.message;
  return `${what} Press Refresh to try again.${shown ? " Below is what was read before." : ""}`;
}

let reading = false;

async function refresh() {
  if (reading) return;
  reading = true;
  byId("refresh").setAttribute("aria-disabled", "true");
  byId("connections").setAttribute("aria-busy", "true");
  try {
    show(await newestRecords(), Date.now());
    byId("problem").textContent = "";
  } catch (problem) {
    byId("problem").textContent = inWords(problem);
    if (!shown || (problem instanceof Refused && [401, 403].includes(problem.status))) clear();
  } finally {
    reading = false;
    byId("refresh").removeAttribute("aria-disabled");
    byId("connections").setAttribute("aria-busy", "false");
  }
}

// Airflow keeps the theme that a person chose in this storage; without a choice the system's counts.
function followTheme() {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // A browser may keep storage from frames.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

followTheme();
window.addEventListener("storage", followTheme);
byId("refresh").addEventListener("click", refresh);
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MILLISECONDS);
refresh();
