/** Whether no other status can follow this one. @param {Status} status */
export function isFinal(status: Status): boolean;
/** Whether to reconnect after this close code: 1000 and 4500-4999 mean stop, everything else means reconnect with `since`. @param {number} code */
export function shouldReconnect(code: number): boolean;
/** Whether the same request may succeed later, so that a client tries again. @param {(typeof REFUSALS)[number]} code */
export function isPassingRefusal(code: (typeof REFUSALS)[number]): code is "overloaded" | "unavailable";
/**
 * Whether a list with this filter is ordered by creation time (PostgreSQL's clock). Otherwise it is ordered by id, which is
 * nearly the same.
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 */
export function isOrderedByTime({ createdAfter, createdBefore }: {
    createdAfter?: string | undefined;
    createdBefore?: string | undefined;
}): boolean;
/**
 * The order of a list, newest first: by id, because ids are ordered by creation. With a range of creation times, by time
 * first.
 * @typedef {{ readonly id: string, readonly createdAt: string }} OrderedRow
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 * @returns {(a: OrderedRow, b: OrderedRow) => number}
 */
export function compareRows(filter: {
    createdAfter?: string | undefined;
    createdBefore?: string | undefined;
}): (a: OrderedRow, b: OrderedRow) => number;
/**
 * What server and browser must agree on: statuses, close codes, limits and times, and the rules that follow from them.
 * This file is the source for both: browsers load it as it is, and `src/protocol` imports it and makes its schemas from
 * it. So it imports nothing.
 *
 * The compiler generates its types, `protocol.d.ts`: `npm run types:protocol` writes them, and a test compares.
 */
/** The statuses of a task, in the order of its life. */
export const STATUSES: readonly ["SCHEDULED", "WAITING", "PENDING", "PROCESSING", "RETRYING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"];
/** @typedef {(typeof STATUSES)[number]} Status */
/**
 * The statuses that can follow each status. A final status has none.
 * @type {Readonly<Record<Status, readonly Status[]>>}
 */
export const TRANSITIONS: Readonly<Record<Status, readonly Status[]>>;
/** @type {readonly Status[]} */
export const FINAL_STATUSES: readonly Status[];
/** The longest silence of a stream before it sends a heartbeat, in milliseconds. The default of `STREAM_HEARTBEAT_SECONDS`. */
export const HEARTBEAT_MS: 15000;
/** A connection without data for this long, in milliseconds, counts as lost: twice the longest silence of a server. */
export const MAX_SILENCE_MS: number;
/** A connection whose client reads none of the waiting data for this long, in milliseconds, is closed. */
export const MAX_UNREAD_MS: 30000;
export namespace CLOSES {
    let ended: Close;
    let internalError: Close;
    let restart: Close;
    let overload: Close;
    let positionLost: Close;
    let tooSlow: Close;
    let noPong: Close;
    let tooManyMessages: Close;
    let protocolError: Close;
    let notFound: Close;
}
export namespace FUTURE_CLOSES {
    let notAllowed: number;
    let tooManyStreams: number;
    let deleted: number;
}
/** The code that a WebSocket reports to its own client if the connection broke without a close. No server sends it. */
export const BROKEN: 1006;
/** Why a request over `/ws/tasks` is refused. */
export const REFUSALS: readonly ["invalid_request", "duplicate_id", "unknown_subscription", "too_many_subscriptions", "too_many_tasks", "too_many_lists", "overloaded", "unavailable"];
/** The maximum length of a title, in characters. */
export const MAX_TITLE_LENGTH: 200;
/** The maximum length of a key of a task or the name of a tenant, in characters. */
export const MAX_KEY_LENGTH: 200;
/** The maximum length of a reason that a person gives, in characters. */
export const MAX_REASON_LENGTH: 500;
/** How small and how large a share can be made, relative to one without a weight. */
export const MIN_WEIGHT: 0.01;
export const MAX_WEIGHT: 1000;
/** The number of rows in the window of a list: the maximum, and the default. */
export const MAX_LIST_ROWS: 1000;
export const DEFAULT_LIST_ROWS: 50;
/** The maximum number of tasks in one subscription. */
export const MAX_SELECTED_IDS: 1000;
/** The maximum number of tasks in a stream over plain HTTP: its address and its position must fit into headers. */
export const MAX_IDS_IN_URL: 200;
/** The longest time that a request may wait for a change, in seconds. */
export const MAX_WAIT_SECONDS: 60;
/**
 * The order of a list, newest first: by id, because ids are ordered by creation. With a range of creation times, by time
 * first.
 */
export type OrderedRow = {
    readonly id: string;
    readonly createdAt: string;
};
export type Status = (typeof STATUSES)[number];
export type Close = {
    readonly code: number;
    readonly means: string;
    readonly action: string;
};
