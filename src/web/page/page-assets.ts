/**
 * The files of the page at addresses that name their content, such as `/assets/<fingerprint>/app.js`: a browser keeps
 * them for a year without asking again. There is one fingerprint for all files, so that the relative imports of a module
 * lead to files of the same version.
 *
 * Another fingerprint comes from a page of an earlier version, or during an upgrade from another process. It is answered
 * with the current file, which the browser must revalidate. Under the current fingerprint, each answer is exactly the
 * content that the fingerprint was made from.
 */
import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { holdFile, listFiles, sendFile } from './serve-folder.js'

/** All style sheets of the page as one, in the same folder, so that their relative addresses stay valid. */
const STYLE_SHEET = 'styles/page.css'
const STYLE_LINK = /^ *<link rel="stylesheet" href="\.\/([^"]+)">\n/gm
const KEPT = 'public, max-age=31536000, immutable'

/** The files at one moment. */
export interface PageAssets {
  /** Of all files together; 16 characters that need no encoding in an address. */
  fingerprint: string
  /** By name, such as `parts/row.js`. */
  files: ReadonlyMap<string, Buffer>
}

/**
 * During an upgrade in place, files are added, replaced and removed, and the folder may be away for a moment. Removed
 * files are kept, for pages that are open.
 * @param folder of the page
 * @returns reads what has changed; the same object while nothing has
 */
export function openPageAssets(folder: string): () => Promise<PageAssets> {
  const readers = new Map<string, () => Promise<Buffer>>()
  let held: PageAssets | undefined
  /** Shared by concurrent requests: each read looks at every file. */
  let reading: Promise<PageAssets> | undefined

  function findNewFiles(): void {
    try {
      for (const name of listFiles(folder))
        if (!readers.has(name)) readers.set(name, holdFile(posix.join(folder, name)))
    } catch (error) {
      if (held === undefined) throw error
    }
  }

  async function read(): Promise<Map<string, Buffer>> {
    // Sorted, so that all processes of a version have one fingerprint.
    const names = [...readers.keys()].sort()
    const files = new Map<string, Buffer>()
    const contents = await Promise.all(names.map((name) => readers.get(name)?.().catch(ignoreMissing)))
    for (const [index, name] of names.entries()) {
      const content = contents[index]
      // A file that is gone before it was ever read was a temporary one.
      if (content === undefined) readers.delete(name)
      else files.set(name, content)
    }
    return files
  }

  async function readChanges(): Promise<PageAssets> {
    findNewFiles()
    const files = await read()
    const hasChanged = [...files].some(([name, content]) => held?.files.get(name) !== content)
    if (held === undefined || hasChanged) held = toAssets(files)
    return held
  }

  return () => (reading ??= readChanges().finally(() => (reading = undefined)))
}

/** @throws any other error */
function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}

function toAssets(files: Map<string, Buffer>): PageAssets {
  const hash = createHash('sha256')
  for (const [name, content] of files) hash.update(`${name}\0${content.length}\0`).update(content)
  const styles = styleSheetsOf(files.get('index.html')?.toString() ?? '').flatMap((name) => files.get(name) ?? [])
  return {
    fingerprint: hash.digest('base64url').slice(0, 16),
    files: new Map(files).set(STYLE_SHEET, Buffer.concat(styles)),
  }
}

/** Those that the document links to, in its order, without those that are only loaded when there is no JavaScript. */
function styleSheetsOf(html: string): string[] {
  return [...html.matchAll(STYLE_LINK)].map(([, name = '']) => name)
}

/**
 * The document with fingerprinted addresses in its links to files, and with one style sheet in place of all. The links
 * stay relative (`./…`).
 */
export function linkToAssets(html: string, { fingerprint, files }: PageAssets): string {
  let isFirst = true
  const single = html.replace(STYLE_LINK, () => {
    const link = isFirst ? `    <link rel="stylesheet" href="./${STYLE_SHEET}">\n` : ''
    isFirst = false
    return link
  })
  return single.replaceAll(/="\.\/([^"]+)"/g, (link, name: string) =>
    files.has(name) && !name.endsWith('.html') ? `="./assets/${fingerprint}/${name}"` : link,
  )
}

/** Registers the addresses. */
export function servePageAssets(scope: FastifyInstance, readAssets: () => Promise<PageAssets>): void {
  let present: PageAssets | undefined
  scope.get<{ Params: { fingerprint: string; '*': string } }>(
    '/assets/:fingerprint/*',
    { schema: { hide: true } },
    async (request, reply) => {
      const { fingerprint, '*': name } = request.params
      // The files of a known fingerprint never change; any other one may mean that newer files are on the disk.
      if (present?.fingerprint !== fingerprint) present = await readAssets()
      const content = present.files.get(name)
      if (content === undefined || name.endsWith('.html')) return reply.callNotFound()
      if (present.fingerprint === fingerprint) void reply.header('cache-control', KEPT)
      return sendFile(request, reply, name, content)
    },
  )
}
