/**
 * Decides which pages may hold a stream of server-sent events open. Over HTTP/1.1 a browser opens six connections to a
 * server, for all its tabs together; if streams took all of them, none would be left for requests. WebSockets do not
 * count.
 *
 * A hidden page holds no stream. Visible pages hold as many as there are slots, which are locks of the browser (Web
 * Locks). If the browser has none, as on plain HTTP under a name other than localhost, every visible page holds as many
 * on its own. Outside a browser there is no limit. A watch without a slot polls, and asks for a slot each time. All
 * streams of the client count: those of `openLive` and `watchList`, and the streams and long polls of single watches.
 */
const SLOTS = 3
/** The slots that this page holds if there are no locks, by the address of the server. */
const held = new Map()
/** The interval between two polls, in milliseconds. Less than the 17 s of silence after which the page shows it. */
const POLL_MS = { shown: 3_000, hidden: 10_000 }

/**
 * The slot of one connection to the server at this address. `onShownOrHidden` is called when the page becomes visible
 * or hidden.
 */
export function openSlot(address, onShownOrHidden) {
  const { document, navigator } = globalThis
  const isHidden = () => document?.visibilityState === 'hidden'
  let release
  let isClosed = false
  let asking

  const leave = () => {
    release?.()
    release = undefined
  }
  const hear = () => {
    if (isHidden()) leave()
    onShownOrHidden()
  }
  document?.addEventListener('visibilitychange', hear)

  /** Resolves with whether the lock with this name is now held. */
  const takeLock = (name) =>
    new Promise((resolve) => {
      const hold = (lock) => {
        resolve(lock !== null)
        return lock === null || isClosed || isHidden() ? undefined : new Promise((done) => (release = done))
      }
      navigator.locks.request(name, { ifAvailable: true }, hold).catch(() => resolve(false))
    }).catch(() => false)

  const takeOfPage = () => {
    const { origin } = new URL(address)
    const count = held.get(origin) ?? 0
    if (count >= SLOTS) return false
    held.set(origin, count + 1)
    release = () => held.set(origin, held.get(origin) - 1)
    return true
  }

  const takeAnyLock = async () => {
    for (let slot = 0; slot < SLOTS; slot++)
      if (await takeLock(`taskwire stream ${slot} ${new URL(address).origin}`)) return release !== undefined
    return false
  }

  return {
    /** Resolves with whether a stream may stay open. */
    async take() {
      if (isHidden() || isClosed) return false
      if (document === undefined || release) return true
      if (!navigator?.locks) return takeOfPage()
      // Two concurrent calls would take two slots.
      asking ??= takeAnyLock().finally(() => (asking = undefined))
      return asking
    },
    leave,
    pollMs: () => (isHidden() ? POLL_MS.hidden : POLL_MS.shown),
    close() {
      isClosed = true
      document?.removeEventListener('visibilitychange', hear)
      leave()
    },
  }
}
