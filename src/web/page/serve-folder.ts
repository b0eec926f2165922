/** The files of a folder, each at its own address, held in memory. A file that has changed since is read again. */
import { readdirSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The media types of the files. A browser runs a script only with the right type. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'application/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.json': 'application/json; charset=utf-8',
  '.ts': 'text/plain; charset=utf-8',
}

interface Held {
  mark: string
  content: Buffer
}

export interface ServedFolder {
  /** All files in this folder and below are served, except those whose names begin with a dot. */
  folder: string
  /** The path under which they are served, with a trailing slash. */
  prefix: string
  /** Headers of each answer. */
  headers?: Readonly<Record<string, string>>
  /** Which files are served. Default: all. */
  includes?: (name: string) => boolean
}

/** Registers a route for each file; `index.html` is also the answer for its folder. */
export function serveFolder(
  scope: FastifyInstance,
  { folder, prefix, headers = {}, includes = () => true }: ServedFolder,
): void {
  for (const name of listFiles(folder).filter(includes)) {
    const read = holdFile(join(folder, name))
    const urls = [
      prefix + name,
      ...(name === 'index.html' || name.endsWith('/index.html') ? [prefix + name.slice(0, -'index.html'.length)] : []),
    ]
    for (const url of urls) {
      scope.get(url, { schema: { hide: true } }, async (request, reply) => {
        void reply.headers(headers)
        return sendFile(request, reply, name, await read())
      })
    }
  }
}

/** @param name says the type */
export function sendFile(request: FastifyRequest, reply: FastifyReply, name: string, content: Buffer): unknown {
  // A slash at the end means nothing, so that `//` leads here, too. Seen from there, the links of a page lead nowhere.
  if (request.url.startsWith('//')) return reply.callNotFound()
  void reply.type(TYPES[extname(name)] ?? 'application/octet-stream')
  return content
}

/** All files in a folder and below, with slashes in their names, but for those that begin with a dot. */
export function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.replace(/[/\\]$/, '').length + 1)
        .replaceAll(sep, '/'),
    )
}

/**
 * The current content of the file; the same object while it has not changed. If the file has disappeared, its last
 * content is used.
 */
export function holdFile(path: string): () => Promise<Buffer> {
  let held: Held | undefined
  return async () => {
    try {
      const { mtimeMs, size, ino } = await stat(path)
      const mark = [mtimeMs, size, ino].join()
      if (held?.mark !== mark) held = { mark, content: await readFile(path) }
    } catch (error) {
      if (held === undefined) throw error
    }
    return held.content
  }
}
