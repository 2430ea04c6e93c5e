// What follows from the records of tasks: pure functions, no page and no network.

const DAY = 24 * 3600 * 1000;
const HOUR = 3600 * 1000;
const MOST_POINTS = 12;
const MOST_FAILURES = 8;
const OUTCOMES = new Set(["success", "failed", "waiting", "skipped"]);
const MOVES_ROWS = new Set(["export", "export to SQL", "load", "load from SQL"]);
// Tokens a day of one seat on the smallest plan.
export const SMALLEST_DAY = 30000;

const text = value => (typeof value === "string" && value ? value : null);
const amount = value => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null);
const moment = value => (typeof value === "string" && Number.isFinite(Date.parse(value)) ? Date.parse(value) : null);

// A record as the page uses it: the entry says which task left it, the value what it used. Null where it is no record.
export function readRecord(entry, value) {
  let said = value;
  try {
    said = typeof value === "string" ? JSON.parse(value) : value;
  } catch {
    return null;
  }
  if (said === null || typeof said !== "object" || !text(said.conn_id)) return null;
  const at = moment(said.at) ?? moment(entry.timestamp);
  if (at === null) return null;
  return {
    dagId: entry.dag_id, taskId: entry.task_id, runId: entry.run_id, mapIndex: entry.map_index,
    connection: said.conn_id, kind: text(said.kind) ?? "task", host: text(said.host), at,
    outcome: OUTCOMES.has(said.outcome) ? said.outcome : "failed",
    rows: amount(said.rows), tokens: amount(said.tokens) ?? 0, requests: amount(said.requests) ?? 0,
    seconds: amount(said.seconds), asOf: moment(said.as_of), size: amount(said.daily_tokens),
    left: amount(said.daily_tokens_left), error: text(said.error), about: text(said.about), call: text(said.call),
    status: amount(said.status),
  };
}

function grouped(records, keyOf) {
  const groups = new Map();
  for (const record of records) {
    const key = keyOf(record);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(record);
  }
  return groups;
}

// Records by connection; the connections by name, the records newest first.
export function byConnection(records) {
  const newestFirst = [...records].sort((one, other) => other.at - one.at);
  return [...grouped(newestFirst, record => record.connection)]
    .map(([connection, own]) => ({ connection, host: own.find(record => record.host)?.host ?? null, records: own }))
    .sort((one, other) => one.connection.localeCompare(other.connection));
}

export const startOfDay = now => Math.floor(now / DAY) * DAY;
export const endOfDay = now => startOfDay(now) + DAY;
const sum = records => records.reduce((total, record) => total + record.tokens, 0);

// The day's budget of one connection, by records that are newest first. Whose midnight renews it nobody says: UTC is assumed.
export function budgetOf(records, now) {
  const today = records.filter(record => record.at >= startOfDay(now));
  const recorded = sum(today);
  const size = records.find(record => record.size !== null)?.size ?? null;
  const told = today.find(record => record.size !== null && record.left !== null) ?? null;
  const left = told && told.left;
  const used = told ? Math.max(told.size - told.left, 0) : recorded;
  const others = told ? Math.max(used - recorded, 0) : 0;
  return { size: told ? told.size : size, left, toldAt: told && told.at, used, recorded: Math.min(recorded, used), others,
    ...forecast(records, used, now) };
}

// What the day will have used at its end: as yesterday from this hour on where that is known, else at today's pace.
function forecast(records, used, now) {
  if (records.some(record => record.at <= now - DAY)) {
    const rest = records.filter(record => record.at > now - DAY && record.at < startOfDay(now));
    return { expected: used + sum(rest), basis: "yesterday" };
  }
  const elapsed = now - startOfDay(now);
  return elapsed < HOUR ? { expected: null, basis: "early" }
    : { expected: Math.round(used / elapsed * DAY), basis: "pace" };
}

// Exports and loads by task, most recent task first; the points of each oldest first.
export function streamsOf(records) {
  const moving = records.filter(record => MOVES_ROWS.has(record.kind));
  return [...grouped(moving, ({ dagId, taskId, kind }) => JSON.stringify([dagId, taskId, kind])).values()].map(own => ({
    dagId: own[0].dagId, taskId: own[0].taskId, kind: own[0].kind, last: own[0],
    asOf: own.find(record => record.asOf !== null && record.outcome === "success")?.asOf ?? null,
    points: own.slice(0, MOST_POINTS).reverse(),
  }));
}

export const failuresOf = records => records.filter(record => record.outcome === "failed").slice(0, MOST_FAILURES);

const REMEDIES = {
  PipedriveAuthError: ({ status, connection }) => status === 402
    ? "The Pipedrive company is closed or its bill is open."
    : status === 403
      ? `The user behind connection ${connection} lacks the right, or its company domain is wrong.`
      : `Mend the API token or the OAuth login of connection ${connection}, under Admin, Connections.`,
  PipedriveConfigError: ({ about, connection }) => about?.startsWith("'")
    ? `Mend the field ${about} of connection ${connection}, under Admin, Connections.`
    : about ? `Mend ${about} of the task; its log says what belongs there.`
      : `Mend the task or connection ${connection}; the task's log says where.`,
  PipedriveValidationError: ({ about }) => about
    ? `Mend ${about} of the task; its log says what is wrong with it.`
    : "Pipedrive refused a value; the task's log says which.",
  PipedriveNotFoundError: () => "It does not exist, was deleted or converted, or the token may not see it.",
  PipedriveRateLimitError: () => "Too many calls at once. Retries wait long enough; a pool lets fewer tasks run at a time.",
  PipedriveDailyBudgetError: () =>
    "The day's API tokens are spent, or the reserve is reached. Clear the task tomorrow, or give it on_daily_budget=\"wait\".",
  PipedriveServerError: () => "Pipedrive failed. Clear the task when it is well again.",
  PipedriveConnectionError: ({ connection }) =>
    `Pipedrive did not answer. Check the company domain of connection ${connection}, and the network of the worker.`,
  AirflowNotFoundException: () =>
    "A connection that the task names is not there; its log says which. Add it under Admin, Connections.",
  AirflowTaskTimeout: () => "It took longer than its execution_timeout. Raise that, or read less at once.",
};

export function remedyFor(failure) {
  const known = Object.hasOwn(REMEDIES, failure.error ?? "") ? REMEDIES[failure.error] : null;
  return known ? known(failure) : "The task's log says more.";
}

export const count = number => Math.round(number).toLocaleString("en");
// A forecast to three digits: more would say that it is known better.
export const about = number => count(Number(number.toPrecision(3)));
export const seconds = number => (number >= 120 ? `${count(number / 60)} min` : `${number.toFixed(number < 10 ? 1 : 0)} s`);

// How long something takes or is ago, in its largest whole unit.
export function duration(milliseconds) {
  const minutes = Math.max(milliseconds, 0) / 60000;
  if (minutes < 1) return "less than a minute";
  if (minutes < 120) return `${Math.floor(minutes)} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`;
  return `${Math.floor(minutes / 60 / 24)} days`;
}
