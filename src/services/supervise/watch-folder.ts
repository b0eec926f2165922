/** Says when a file in a folder has changed. */
import { watch } from 'node:fs'

/** Editors write a file in several steps. */
const QUIET_MS = 200

/** Calls `onChange` once the folder, and what is below it, is quiet after a change; one call at a time. Watches to the end of the process. */
export function watchFolder(folder: string, onChange: () => Promise<void>): void {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  watch(folder, { recursive: true, persistent: false }, () => {
    clearTimeout(timer)
    timer = setTimeout(() => (running = running.then(onChange)), QUIET_MS).unref()
  })
}
