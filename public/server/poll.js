/** Reads an answer again and again, for what has no stream. */

/**
 * Reads at once and then every `everyMs`: one read at a time, and only while the page is visible. `read` receives an
 * `AbortSignal`; `onRead` receives each answer, `onFailure` each error.
 * @returns `{ readNow(), stop() }`; `readNow` also drops an answer that is under way and may be older
 */
export function poll(read, { everyMs, onRead, onFailure }) {
  let underWay
  let timer

  const turn = async () => {
    drop()
    const own = (underWay = new AbortController())
    let tell
    try {
      const answer = await read(own.signal)
      tell = () => onRead(answer)
    } catch (error) {
      tell = () => onFailure(error)
    }
    if (own !== underWay) return
    underWay = undefined
    if (!document.hidden) timer = setTimeout(turn, everyMs)
    tell()
  }
  const drop = () => {
    clearTimeout(timer)
    underWay?.abort()
    underWay = undefined
  }
  const onVisibility = () => {
    if (document.hidden) clearTimeout(timer)
    else if (underWay === undefined) turn()
  }
  document.addEventListener('visibilitychange', onVisibility)
  if (!document.hidden) turn()
  return {
    readNow: turn,
    stop() {
      document.removeEventListener('visibilitychange', onVisibility)
      drop()
    },
  }
}
