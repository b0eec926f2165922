/**
 * Decides which pages may hold a stream of server-sent events open. Over HTTP/1.1 a browser opens six connections to a
 * server, for all its tabs together; if streams took all of them, none would be left for requests. WebSockets do not
 * count.
 *
 * A hidden page holds no stream. Visible pages hold as many as there are slots, which are locks of the browser (Web
 * Locks). If the browser has none, as on plain HTTP under a name other than localhost, every visible page holds one.
 * Outside a browser every program does. A page without a slot polls, and asks for a slot each time.
 */
const SLOTS = 3
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

  const takeAnyLock = async () => {
    for (let slot = 0; slot < SLOTS; slot++) if (await takeLock(`taskwire stream ${slot} ${new URL(address).origin}`)) return release !== undefined
    return false
  }

  return {
    /** Resolves with whether a stream may stay open. */
    async take() {
      if (isHidden()) return false
      if (document === undefined || !navigator?.locks || release) return true
      // Two concurrent calls would take two slots.
      asking ??= takeAnyLock().finally(() => (asking = undefined))
      return asking
    },
    pollMs: () => (isHidden() ? POLL_MS.hidden : POLL_MS.shown),
    close() {
      isClosed = true
      document?.removeEventListener('visibilitychange', hear)
      leave()
    },
  }
}
