import { MAX_PRIORITY } from '../../protocol/limits.js'

/** Of released deliveries: their order was decided by the release, so the broker takes them before any other. */
export const RELEASED_PRIORITY = MAX_PRIORITY + 1
