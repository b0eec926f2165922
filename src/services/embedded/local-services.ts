/**
 * The addresses of the services used by a running `start`. They are noted in its data folder, so that `doctor` and
 * other commands find them without settings. They contain passwords, so only the user can read the file.
 */
import { randomUUID } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PRIVATE_FILE_MODE } from '../../private-files.js'
import { StartupError } from '../../startup-error.js'

const FILE = 'services.json'

export interface LocalServices {
  databaseUrl: string
  redisUrl: string | undefined
}

/** Writes the note and returns a function that removes it. The next start replaces a note left by a killed one. */
export async function noteLocalServices(
  folder: string,
  { databaseUrl, redisUrl }: LocalServices,
): Promise<() => Promise<void>> {
  const path = join(folder, FILE)
  const draft = `${path}.${randomUUID().slice(0, 8)}`
  await writeFile(draft, `${JSON.stringify({ DATABASE_URL: databaseUrl, REDIS_URL: redisUrl ?? '' })}\n`, {
    mode: PRIVATE_FILE_MODE,
  })
  await rename(draft, path)
  return () => rm(path, { force: true })
}

/**
 * The environment. When it names no database, adds the addresses of a `start` that runs here.
 * @throws StartupError when it names none and none is noted
 */
export async function withLocalServices(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  if (env['DATABASE_URL']) return env
  const folder = env['DATA_DIR'] || '.taskwire'
  const noted = await readFile(join(folder, FILE), 'utf8').then(parseNote, () => undefined)
  if (noted === undefined) {
    throw new StartupError(
      `DATABASE_URL is not set, and no "taskwire start" is running with the data folder ${folder}. Run this command in the folder where it was started, or set DATABASE_URL.`,
    )
  }
  return { ...env, ...noted, ...(env['REDIS_URL'] && { REDIS_URL: env['REDIS_URL'] }) }
}

function parseNote(text: string): NodeJS.ProcessEnv | undefined {
  try {
    const { DATABASE_URL, REDIS_URL } = JSON.parse(text) as Record<string, unknown>
    if (typeof DATABASE_URL !== 'string' || typeof REDIS_URL !== 'string') return undefined
    return { DATABASE_URL, REDIS_URL }
  } catch {
    return undefined
  }
}
