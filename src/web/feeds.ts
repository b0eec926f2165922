/**
 * The feeds of this process. What has come to fit a selection is looked for once a second: what several feeds ask is read once.
 *
 * A feed that asks for much waits for itself: its reads go in its turns (see `reading.ts`), and it looks again only when its last look
 * has ended. The others look each second all the same.
 */
import type { FastifyBaseLogger } from 'fastify'
import { createFeed, type Feed, type FeedDeps, type Filter, type ListOptions } from '../live/feed.js'

const LOOK_MS = 1_000

type Listed = ReturnType<FeedDeps['listTasks']>

export interface FeedsDeps {
  hub: FeedDeps['hub']
  /** @param client the feed that asks */
  listTasks(client: object, filter: Filter, options: ListOptions): Listed
  log: FastifyBaseLogger
}

export interface Feeds {
  /** Opens a feed. It is looked for until `stop` is called on it. */
  open(client: Pick<FeedDeps, 'sink' | 'answer' | 'onIdle'>): Feed
  /** Looks no more. */
  stop(): void
}

export function startFeeds({ hub, listTasks, log }: FeedsDeps): Feeds {
  const feeds = new Set<Feed>()
  const looking = new Set<Feed>()
  let looks = new Map<string, Listed>()
  let isWarned = false

  function listOnce(client: object, filter: Filter, options: ListOptions): Listed {
    const key = JSON.stringify([filter, options])
    const listed = looks.get(key) ?? listTasks(client, filter, options)
    looks.set(key, listed)
    return listed
  }

  async function look(feed: Feed): Promise<void> {
    looking.add(feed)
    try {
      await feed.look()
    } catch (error) {
      if (!isWarned) log.warn({ err: error }, 'the tasks that fit could not be read')
      isWarned = true
    } finally {
      looking.delete(feed)
    }
  }

  const timer = setInterval(() => {
    looks = new Map()
    isWarned = false
    for (const feed of feeds) if (!looking.has(feed)) void look(feed)
  }, LOOK_MS).unref()

  return {
    open(client) {
      const asker = {}
      const feed = createFeed({ hub, listTasks: (filter, options) => (options.isLook ? listOnce : listTasks)(asker, filter, options), ...client })
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
