/** Reads an answer again and again, for what has no stream. */
import { getJson } from './api.js'

/**
 * Reads at once and then every `everyMs`, as `getJson` does: one request at a time, and only while the page is visible.
 * `onRead` receives each answer, `onFailure` each error.
 * @returns `{ readNow(), stop() }`; `readNow` also drops an answer that is under way and may be older
 */
export function pollJson(path, { everyMs, has, onRead, onFailure }) {
  let underWay
  let timer

  const read = async () => {
    drop()
    const own = (underWay = new AbortController())
    let tell
    try {
      const answer = await getJson(path, { signal: own.signal, has })
      tell = () => onRead(answer)
    } catch (error) {
      tell = () => onFailure(error)
    }
    if (own !== underWay) return
    underWay = undefined
    if (!document.hidden) timer = setTimeout(read, everyMs)
    tell()
  }
  const drop = () => {
    clearTimeout(timer)
    underWay?.abort()
    underWay = undefined
  }
  const onVisibility = () => {
    if (document.hidden) clearTimeout(timer)
    else if (underWay === undefined) read()
  }
  document.addEventListener('visibilitychange', onVisibility)
  if (!document.hidden) read()
  return {
    readNow: read,
    stop() {
      document.removeEventListener('visibilitychange', onVisibility)
      drop()
    },
  }
}
