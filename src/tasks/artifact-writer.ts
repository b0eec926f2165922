/**
 * The stream behind `ctx.artifact(name)`: the bytes go to the store while they are counted and hashed, and when all are there
 * the artifact is recorded, if the attempt is still the current one. Only then does the stream finish.
 */
import { createHash } from 'node:crypto'
import { PassThrough, Writable } from 'node:stream'
import type { ArtifactKey, ArtifactStore } from './artifact-store.js'

export interface WrittenArtifact {
  bytes: number
  sha256: string
}

export interface ArtifactWriterOptions {
  store: ArtifactStore
  key: ArtifactKey
  signal: AbortSignal
  /** Rejects when it may not be; the bytes are removed then. */
  record(written: WrittenArtifact): Promise<void>
}

export function createArtifactWriter({ store, key, signal, record }: ArtifactWriterOptions): Writable {
  const hash = createHash('sha256')
  const through = new PassThrough()
  let bytes = 0
  const stored = store.write(key, through)
  const writer = new Writable({
    signal,
    write(chunk: Buffer, _, callback) {
      bytes += chunk.length
      hash.update(chunk)
      if (through.write(chunk)) callback()
      else through.once('drain', callback)
    },
    final(callback) {
      through.end()
      stored
        .then(() => record({ bytes, sha256: hash.digest('hex') }))
        .then(() => callback(), (error: Error) => store.remove(key).then(() => callback(error), () => callback(error)))
    },
    destroy(error, callback) {
      // A source that fails leaves nothing behind.
      if (!through.writableEnded) through.destroy(error ?? new Error('the artifact was given up'))
      callback(error)
    },
  })
  stored.catch((error: Error) => writer.destroy(error))
  through.on('error', () => {})
  return writer
}
