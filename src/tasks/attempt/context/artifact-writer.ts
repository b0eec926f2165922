/**
 * The stream behind `ctx.artifact(name)`. The bytes go to the store while they are counted and hashed. When all are
 * stored, the artifact is recorded if the attempt is still the current one. Only then does the stream finish.
 */
import { createHash } from 'node:crypto'
import { PassThrough, Writable } from 'node:stream'
import type { ArtifactKey, ArtifactStore } from '../../../artifacts/artifact-store.js'

export interface WrittenArtifact {
  bytes: number
  sha256: string
}

export interface ArtifactWriterOptions {
  store: ArtifactStore
  key: ArtifactKey
  /** Aborts the writing. */
  signal?: AbortSignal
  /** Rejects when the file may not be recorded; its bytes are then removed. */
  record(written: WrittenArtifact): Promise<void>
}

export function createArtifactWriter({ store, key, signal, record }: ArtifactWriterOptions): Writable {
  const hash = createHash('sha256')
  const through = new PassThrough()
  let bytes = 0
  let failure: Error | undefined
  let onFailure: (error: Error) => void = () => {}
  const stored = store.write(key, through)
  // Reported with the next write or the end, when the handler is listening: an error without a listener ends the
  // process.
  stored.catch((error: Error) => {
    failure = error
    onFailure(error)
  })
  through.on('error', () => {})
  return new Writable({
    ...(signal && { signal }),
    write(chunk: Buffer, _, callback) {
      if (failure !== undefined) return callback(failure)
      bytes += chunk.length
      hash.update(chunk)
      if (through.write(chunk)) return callback()
      onFailure = callback
      through.once('drain', () => {
        onFailure = () => {}
        callback()
      })
    },
    final(callback) {
      through.end()
      stored
        .then(() => record({ bytes, sha256: hash.digest('hex') }))
        .then(
          () => callback(),
          (error: Error) =>
            store.remove(key).then(
              () => callback(error),
              () => callback(error),
            ),
        )
    },
    destroy(error, callback) {
      // A failed source leaves nothing behind.
      if (!through.writableEnded) through.destroy(error ?? new Error('the artifact was abandoned'))
      callback(error)
    },
  })
}
