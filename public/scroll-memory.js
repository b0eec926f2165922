/** The scroll position of each history entry. Kept across reloads for as long as the tab lives. */

const STORE = 'taskwire.scroll'
const MAX_KEPT = 100
/** How long a page may take to reach its former height. */
const HOLD_MS = 3_000
const READER_MOVES = ['wheel', 'touchstart', 'pointerdown', 'keydown']

export function openScrollMemory() {
  history.scrollRestoration = 'manual'
  const positions = read()
  let key
  let stopHolding = () => {}
  return {
    /**
     * Saves the position of the current entry. Call it before another entry is entered; the address may already be that
     * of the next one.
     */
    leave() {
      stopHolding()
      positions.delete(key)
      positions.set(key, Math.round(window.scrollY))
      write(positions)
    },
    /** Makes the entry of the address the current one. */
    enter() {
      key = history.state?.key ?? Math.random().toString(36).slice(2)
      history.replaceState({ key }, '')
    },
    toTop() {
      stopHolding()
      window.scrollTo({ top: 0 })
    },
    /**
     * Scrolls to the saved position of the current entry as soon as the page is long enough, unless the reader scrolls
     * first.
     */
    restore() {
      stopHolding()
      stopHolding = holdAt(positions.get(key) ?? 0)
    },
  }
}

/** The position is held for a while: content inserted above moves the view, because browsers anchor it. */
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
    return new Map() // without storage, the positions are lost on reload
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
