/**
 * The files of the page at addresses that name their content, `/assets/<fingerprint>/app.js`: a browser keeps them for a year and asks
 * for none of them again. The fingerprint is that of all files together, so that the relative imports of a module stay within it.
 *
 * A fingerprint that is not the present one is that of a page of an earlier version, or of another process in an upgrade: it is answered with
 * the file as it is now, to be asked about again. What is answered under the present one is exactly what it was made of.
 */
import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { holdFile, listFiles, sendFile } from './serve-folder.js'

/** The style sheets of the page as one; beside them, so that what they may name is found. */
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

  return async () => {
    findNewFiles()
    const files = await read()
    const hasChanged = [...files].some(([name, content]) => held?.files.get(name) !== content)
    if (held === undefined || hasChanged) held = toAssets(files)
    return held
  }
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

/** Those that the document links to in its order, but for those that are loaded without JavaScript alone. */
function styleSheetsOf(html: string): string[] {
  return [...html.matchAll(STYLE_LINK)].map(([, name = '']) => name)
}

/** The document with its links to files led to fingerprinted addresses, and one style sheet in place of all. Links stay relative, `./…`. */
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
      // What a fingerprint was made of stays what it is; only another one is worth a look at the files.
      if (present?.fingerprint !== fingerprint) present = await readAssets()
      const content = present.files.get(name)
      if (content === undefined || name.endsWith('.html')) return reply.callNotFound()
      if (present.fingerprint === fingerprint) void reply.header('cache-control', KEPT)
      return sendFile(request, reply, name, content)
    },
  )
}
