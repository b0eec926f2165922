/** Reports changes of files in a folder. */
import { watch } from 'node:fs'

/** Editors write a file in several steps. */
const QUIET_MS = 200

/**
 * Calls `onChange` once the folder and its subfolders are quiet after a change; one call at a time. Watches until the
 * process ends.
 */
export function watchFolder(folder: string, onChange: () => Promise<void>): void {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  watch(folder, { recursive: true, persistent: false }, () => {
    clearTimeout(timer)
    timer = setTimeout(() => (running = running.then(onChange)), QUIET_MS).unref()
  })
}
