/**
 * Which pages may hold a stream of server-sent events open. Over HTTP/1.1 a browser has six connections to a server, for all its tabs
 * together: streams that took them all would leave none for requests. A WebSocket is not counted among them.
 *
 * A page that is hidden holds no stream. Of those that are shown, as many do as there are slots, which are locks of the browser (Web Locks).
 * Where there are none, such as on plain HTTP under another name than localhost, every page that is shown holds as many by itself. Outside a
 * browser there is no bound. What has no slot polls, and asks for one each time. All streams of the client count: those of `openLive` and
 * `watchList`, and those and the long polls of single watches.
 */
const SLOTS = 3
/** Those of this page, where there are no locks: by the address of the server. */
const held = new Map()
/** Between two polls, in milliseconds. Less than the 17 s of silence that the page shows. */
const POLL_MS = { shown: 3_000, hidden: 10_000 }

/** The slot of one connection to the server of this address. `onShownOrHidden` is called when the page is shown or hidden. */
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

  /** Resolves with whether the lock of this name is held now. */
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
    for (let slot = 0; slot < SLOTS; slot++) if (await takeLock(`taskwire stream ${slot} ${new URL(address).origin}`)) return release !== undefined
    return false
  }

  return {
    /** Resolves with whether a stream may stay open. */
    async take() {
      if (isHidden() || isClosed) return false
      if (document === undefined || release) return true
      if (!navigator?.locks) return takeOfPage()
      // Two at once would take two slots.
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
