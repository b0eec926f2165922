/** Whether nothing can follow this status. @param {Status} status */
export function isFinal(status: Status): boolean;
/** Whether to reconnect after this close code: 1000 and 4500-4999 mean stop, everything else means reconnect with `since`. @param {number} code */
export function shouldReconnect(code: number): boolean;
/** Whether the same request may be granted later, so that a client tries again. @param {(typeof REFUSALS)[number]} code */
export function isPassingRefusal(code: (typeof REFUSALS)[number]): code is "overloaded" | "unavailable";
/**
 * Whether a list of this filter is in the order of creation by PostgreSQL's clock; otherwise it is in that of the ids, which is near.
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 */
export function isOrderedByTime({ createdAfter, createdBefore }: {
    createdAfter?: string | undefined;
    createdBefore?: string | undefined;
}): boolean;
/**
 * The order of a list, newest first.
 * @typedef {{ readonly id: string, readonly createdAt: string }} OrderedRow
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 * @returns {(a: OrderedRow, b: OrderedRow) => number}
 */
export function compareRows(filter: {
    createdAfter?: string | undefined;
    createdBefore?: string | undefined;
}): (a: OrderedRow, b: OrderedRow) => number;
/**
 * What server and browser must agree on: statuses, close codes, limits and times, and the rules that are made of them. This file is the
 * source of both: browsers load it as it is, and `src/protocol` imports it and makes its schemas from it. So it imports nothing.
 *
 * Its types, `protocol.d.ts`, are what the compiler makes of it: `npm run types:protocol` writes them, and a test compares.
 */
/** Where a task can stand, in the order of a life. */
export const STATUSES: readonly ["SCHEDULED", "WAITING", "PENDING", "PROCESSING", "RETRYING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"];
/** @typedef {(typeof STATUSES)[number]} Status */
/**
 * From each status, the statuses it may move to. A final status has none.
 * @type {Readonly<Record<Status, readonly Status[]>>}
 */
export const TRANSITIONS: Readonly<Record<Status, readonly Status[]>>;
/** @type {readonly Status[]} */
export const FINAL_STATUSES: readonly Status[];
/** How long a stream is silent at most, in milliseconds: then it says a heartbeat. The default of `STREAM_HEARTBEAT_SECONDS`. */
export const HEARTBEAT_MS: 15000;
/** A connection from which nothing was heard for so long, in milliseconds, counts as lost. */
export const MAX_SILENCE_MS: number;
/** A connection that takes nothing of what waits for it for so long, in milliseconds, is closed. */
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
/** What a client is told by its own WebSocket when the connection broke without a close. No server sends it. */
export const BROKEN: 1006;
/** Why a request over `/ws/tasks` is refused. */
export const REFUSALS: readonly ["invalid_request", "duplicate_id", "unknown_subscription", "too_many_subscriptions", "too_many_tasks", "too_many_lists", "overloaded", "unavailable"];
/** The longest title of a task, in characters. */
export const MAX_TITLE_LENGTH: 200;
/** Rows of the window of a list, at most, and where none are asked for. */
export const MAX_LIST_ROWS: 1000;
export const DEFAULT_LIST_ROWS: 50;
/** Tasks that one subscription names, at most. */
export const MAX_SELECTED_IDS: 1000;
/** Tasks that a stream over plain HTTP names, at most: its address and its position must fit into headers. */
export const MAX_IDS_IN_URL: 200;
/** The longest a request may wait for a change, in seconds. */
export const MAX_WAIT_SECONDS: 60;
/**
 * The order of a list, newest first.
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
