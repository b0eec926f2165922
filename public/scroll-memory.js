/** How far each entry of the history was scrolled. Kept over reloads, for as long as the tab lives. */

const STORE = 'taskwire.scroll'
const MAX_KEPT = 100
/** How long a page may take to get the height that it had. */
const HOLD_MS = 3_000
const READER_MOVES = ['wheel', 'touchstart', 'pointerdown', 'keydown']

export function openScrollMemory() {
  history.scrollRestoration = 'manual'
  const positions = read()
  let key
  let stopHolding = () => {}
  return {
    /** Notes where the present entry stands. To be called before another one is entered; the address may be the next one's already. */
    leave() {
      stopHolding()
      positions.delete(key)
      positions.set(key, Math.round(window.scrollY))
      write(positions)
    },
    /** The entry of the address is the present one. */
    enter() {
      key = history.state?.key ?? Math.random().toString(36).slice(2)
      history.replaceState({ key }, '')
    },
    toTop() {
      stopHolding()
      window.scrollTo({ top: 0 })
    },
    /** To where the present entry was left, as soon as the page is long enough, until the reader moves. */
    restore() {
      stopHolding()
      stopHolding = holdAt(positions.get(key) ?? 0)
    },
  }
}

/** Held for a while: what comes above moves what is seen, because browsers anchor it. */
function holdAt(top) {
  const scroll = () => window.scrollTo({ top })
  const growth = new ResizeObserver(scroll)
  const timer = setTimeout(stop, HOLD_MS)
  function stop() {
    growth.disconnect()
    clearTimeout(timer)
    for (const name of READER_MOVES) window.removeEventListener(name, stop)
  }
  for (const name of READER_MOVES) window.addEventListener(name, stop, { passive: true })
  growth.observe(document.body)
  scroll()
  return stop
}

function read() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(STORE) ?? '[]'))
  } catch {
    return new Map() // a browser that stores nothing forgets the positions at a reload
  }
}

function write(positions) {
  for (const key of positions.keys()) if (positions.size > MAX_KEPT) positions.delete(key)
  try {
    sessionStorage.setItem(STORE, JSON.stringify([...positions]))
  } catch {
    // as above
  }
}
