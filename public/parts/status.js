// @ts-check
/** The status of a task, shown by shape, word and colour. */
import { createBadge } from './badge.js'
import { setAttribute } from './dom.js'

/**
 * One shape for each status, 16 by 16.
 * @satisfies {Record<import('../protocol.js').Status, string>}
 */
const STATUS_SHAPES = {
  SCHEDULED: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 5v3.300l2.200 1.500',
  WAITING: 'M5.500 4v8M10.500 4v8',
  PENDING: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11',
  PROCESSING: 'M5 3.500v9l7.500-4.500z',
  RETRYING: 'M13 8a5 5 0 1 1-1.600-3.700M13 2.500v3h-3',
  CANCELLING: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11M5.500 8h5',
  COMPLETED: 'M3 8.500l3.300 3.300L13 5',
  FAILED: 'M4 4l8 8M12 4l-8 8',
  CANCELLED: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11M4.200 4.200l7.600 7.600',
  EXPIRED: 'M4 2.500h8M4 13.500h8M5 2.500c0 3 6 8 6 11M11 2.500c0 3-6 8-6 11',
}

/**
 * @param {import('../protocol.js').Status} status
 * @returns `{ element, update(status) }`
 */
export function createStatus(status) {
  const badge = createBadge()
  /** @param {import('../protocol.js').Status} status */
  const update = (status) => {
    setAttribute(badge.element, 'data-status', status)
    badge.update({ shape: STATUS_SHAPES[status] ?? STATUS_SHAPES.PENDING, word: status })
  }
  update(status)
  return { element: badge.element, update }
}
