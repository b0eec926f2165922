import js from '@eslint/js'
import tseslint from 'typescript-eslint'

/**
 * The rooms of `src` that each room may import, besides itself and `timing`: enforces the picture in
 * docs/architecture.md, for types too.
 */
const ROOMS = {
  timing: [],
  protocol: [],
  access: [],
  artifacts: [],
  db: ['protocol', 'access'],
  store: ['protocol', 'access', 'db', 'artifacts/artifact-store.js'],
  definitions: ['protocol', 'access', 'db'],
  tasks: ['protocol', 'access', 'db', 'store', 'definitions', 'artifacts'],
  schedules: ['protocol', 'access', 'db', 'store', 'definitions', 'tasks'],
  handlers: ['protocol', 'access', 'db', 'store', 'definitions', 'tasks', 'artifacts'],
  broker: ['protocol', 'db'],
  relay: ['protocol', 'access', 'db', 'store', 'definitions', 'tasks', 'schedules', 'broker', 'artifacts'],
  live: ['protocol', 'access', 'broker/broker.js'],
  worker: ['protocol', 'access', 'db', 'store', 'definitions', 'tasks', 'schedules', 'broker', 'handlers', 'artifacts'],
  web: [
    'protocol',
    'access',
    'db',
    'store',
    'definitions',
    'tasks',
    'schedules',
    'broker',
    'handlers',
    'live',
    'artifacts',
  ],
  testing: ['protocol', 'access', 'db', 'store', 'definitions', 'tasks', 'artifacts'],
  doctor: ['protocol', 'db', 'store', 'broker'],
  services: ['db/database-url.js'],
}
/** The most lines of code of a function, with all functions inside it. */
const MAX_FUNCTION_LINES = 80
/** Packages that only some rooms may import. */
const PACKAGES = {
  bullmq: ['broker'],
  ioredis: ['broker'],
  pg: ['db', 'broker'],
  postgres: ['db', 'broker'],
  'drizzle-orm': ['db', 'store'],
  fastify: ['web'],
  '@fastify': ['web'],
  ws: [],
}
/**
 * A template literal that starts like an SQL statement. SQL belongs in the store; db, the broker on PostgreSQL and the
 * embedded server have their own.
 */
const SQL_ROOMS = new Set(['store', 'db', 'broker', 'services'])
const SQL = {
  selector: 'TemplateElement[value.raw=/^\\s*(select|insert into|update|delete from|with [a-z_]+ as)\\s/i]',
  message: 'SQL is written in src/store.',
}

function boundariesOf(room) {
  const allowed = ROOMS[room]
  const foreign = Object.keys(ROOMS).filter((other) => other !== room && other !== 'timing' && !allowed.includes(other))
  const patterns = foreign.map((other) => {
    const exception = allowed.find((path) => path.startsWith(`${other}/`))
    const tail = exception ? `(?!${exception.slice(other.length + 1).replace('.', '\\.')}$)` : ''
    return {
      regex: `^(\\.\\./)+${other}/${tail}`,
      message: `${room} must not import ${other} (see docs/architecture.md).`,
    }
  })
  for (const [name, rooms] of Object.entries(PACKAGES)) {
    if (!rooms.includes(room))
      patterns.push({ regex: `^${name}(/|$)`, message: `only ${rooms.join(', ') || 'tests'} may import ${name}.` })
  }
  if (room === 'timing') patterns.push({ regex: '^(?!node:|\\./)', message: 'timing imports Node only.' })
  if (room === 'access') patterns.push({ regex: '^(?!\\./)', message: 'access imports itself only.' })
  if (room === 'protocol') patterns.push({ regex: '^(?!typebox|\\.{1,2}/)', message: 'protocol imports typebox only.' })
  const rules = { 'no-restricted-imports': ['error', { patterns }] }
  if (!SQL_ROOMS.has(room)) rules['no-restricted-syntax'] = ['error', SQL]
  return { files: [`src/${room}/**/*.ts`], rules }
}

export default tseslint.config(
  { ignores: ['dist/', 'dist-test/', 'node_modules/', '.taskwire/', 'public/**/*.d.ts', 'drizzle.config.ts'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strict],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-empty-function': 'off',
    },
  },
  // tap itself awaits the promises of its subtests.
  { files: ['test/**/*.ts'], rules: { '@typescript-eslint/no-floating-promises': 'off' } },
  { files: ['public/**/*.js'], languageOptions: { globals: browserGlobals() } },
  {
    files: ['*.js'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', performance: 'readonly', URL: 'readonly' },
    },
  },
  ...Object.keys(ROOMS).map(boundariesOf),
  {
    // A longer function with inner functions is a class in disguise, or several capabilities.
    files: ['src/**/*.ts', 'public/**/*.js'],
    rules: {
      'max-lines-per-function': ['error', { max: MAX_FUNCTION_LINES, skipBlankLines: true, skipComments: true }],
    },
  },
)

function browserGlobals() {
  const names = [
    'TextDecoder',
    'window',
    'document',
    'location',
    'navigator',
    'fetch',
    'WebSocket',
    'URL',
    'URLSearchParams',
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'requestAnimationFrame',
    'Event',
    'CustomEvent',
    'EventTarget',
    'Node',
    'HTMLElement',
    'Element',
    'AbortController',
    'AbortSignal',
    'crypto',
    'history',
    'console',
    'queueMicrotask',
    'performance',
    'structuredClone',
    'Option',
    'sessionStorage',
    'ResizeObserver',
  ]
  return Object.fromEntries(names.map((name) => [name, 'readonly']))
}
