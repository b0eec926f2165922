/**
 * The feeds of this process. What has come to fit a selection is looked for once a second, for all feeds together: what
 * several of them ask is read once.
 */
import type { FastifyBaseLogger } from 'fastify'
import { createFeed, type Feed, type FeedDeps } from '../live/feed.js'

const LOOK_MS = 1_000

export interface Feeds {
  /** Opens a feed. It is looked for until `stop` is called on it. */
  open(client: Pick<FeedDeps, 'sink' | 'answer' | 'onIdle'>): Feed
  /** Looks no more. */
  stop(): void
}

export function startFeeds({ hub, listTasks, log }: Pick<FeedDeps, 'hub' | 'listTasks'> & { log: FastifyBaseLogger }): Feeds {
  const feeds = new Set<Feed>()
  let listForAll = listTasks
  let isLooking = false

  async function look(): Promise<void> {
    const reads = new Map<string, ReturnType<FeedDeps['listTasks']>>()
    listForAll = (...args) => {
      const key = JSON.stringify(args)
      const read = reads.get(key) ?? listTasks(...args)
      reads.set(key, read)
      return read
    }
    await Promise.all([...feeds].map((feed) => feed.look()))
  }

  const timer = setInterval(() => {
    if (isLooking || feeds.size === 0) return
    isLooking = true
    look()
      .catch((error: unknown) => log.warn({ err: error }, 'the tasks that fit could not be read'))
      .finally(() => {
        isLooking = false
        listForAll = listTasks
      })
  }, LOOK_MS).unref()

  return {
    open(client) {
      const feed = createFeed({ hub, listTasks: (...args) => listForAll(...args), ...client })
      const open: Feed = {
        ...feed,
        stop() {
          feeds.delete(open)
          feed.stop()
        },
      }
      feeds.add(open)
      return open
    },
    stop: () => clearInterval(timer),
  }
}
