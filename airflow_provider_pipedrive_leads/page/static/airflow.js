// Airflow's own API, asked with the viewer's login: what the viewer may not read, the page does not get.
import { readRecord } from "./facts.js";

const API = new URL("../api/v2/", document.baseURI);
const KEY = "pipedrive_usage";
const MOST_RECORDS = 100;
const AT_ONCE = 4;
// Values that were read already: a record never changes, only a later one takes its place.
const known = new Map();

export class Refused extends Error {
  constructor(status) {
    super(`Airflow's API answered ${status}.`);
    this.status = status;
  }
}

async function ask(path) {
  const reply = await fetch(new URL(path, API), { cache: "no-store", headers: { Accept: "application/json" } });
  if (!reply.ok) throw new Refused(reply.status);
  return reply.json();
}

const part = encodeURIComponent;
const identity = entry => JSON.stringify([entry.dag_id, entry.run_id, entry.task_id, entry.map_index, entry.timestamp]);

async function read(entry) {
  const path = `dags/${part(entry.dag_id)}/dagRuns/${part(entry.run_id)}/taskInstances/${part(entry.task_id)}`;
  try {
    const { value } = await ask(`${path}/xcomEntries/${KEY}?map_index=${part(entry.map_index)}&deserialize=false`);
    return readRecord(entry, value);
  } catch (problem) {
    // Gone since it was listed, or one that this viewer may not read.
    if (problem instanceof Refused && [403, 404].includes(problem.status)) return null;
    throw problem;
  }
}

async function inTurn(queue, work) {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
}

// The newest records, and how many there are in all.
export async function newestRecords() {
  const query = `xcom_key=${KEY}&order_by=-timestamp&limit=${MOST_RECORDS}`;
  const listed = await ask(`dags/~/dagRuns/~/taskInstances/~/xcomEntries?${query}`);
  const entries = listed.xcom_entries, present = new Set(entries.map(identity));
  for (const key of known.keys()) if (!present.has(key)) known.delete(key);
  const queue = entries.filter(entry => !known.has(identity(entry)));
  const remember = async entry => { known.set(identity(entry), await read(entry)); };
  await Promise.all(Array.from({ length: AT_ONCE }, () => inTurn(queue, remember)));
  const records = entries.map(entry => known.get(identity(entry))).filter(record => record);
  return { records, total: listed.total_entries, listed: entries.length };
}

// The page of a task in Airflow.
export function pageOf({ dagId, runId, taskId, mapIndex }) {
  const mapped = mapIndex >= 0 ? `/mapped/${part(mapIndex)}` : "";
  return new URL(`../dags/${part(dagId)}/runs/${part(runId)}/tasks/${part(taskId)}${mapped}`, document.baseURI).href;
}
