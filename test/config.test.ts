import t from 'tap'
import { describeConfig, loadConfig } from '../src/config.js'
import { ConfigError } from '../src/environment.js'
import { StartupError } from '../src/startup-error.js'

const DATABASE_URL = 'postgres://user:secret@localhost:5432/taskwire'

function problemsOf(load: () => unknown): ConfigError {
  try {
    load()
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('nothing was wrong')
}

t.test('a role needs only a database URL', async (t) => {
  t.strictSame(loadConfig('web', { DATABASE_URL }), {
    databaseUrl: DATABASE_URL,
    logLevel: 'info',
    host: '127.0.0.1',
    port: 3000,
    databasePoolSize: 10,
    databaseReadPoolSize: 6,
    idempotencyKeyTtlHours: 24,
    httpRequestAllowPrivate: false,
    claimWindowSeconds: 5,
    brokerWindow: 10_000,
    maxStreamsPerAddress: 1_000,
    queues: '',
    workerQueues: '',
    emailFrom: 'taskwire@localhost.localdomain',
    emailDir: '.taskwire/emails',
    artifactsDir: '.taskwire/artifacts',
    artifactTtlHours: 720,
    minFreeDiskMb: 512,
    maxUploadsMb: 10_240,
    watchedDirs: '',
    maxStreamsPerKey: 1_000,
    maxStreams: 20_000,
    streamHeartbeatSeconds: 15,
    basePath: '',
    trustProxy: '',
    allowedHosts: '',
    allowedOrigins: '',
    maxConnections: 25_000,
    requestTimeoutSeconds: 15,
    keepAliveSeconds: 30,
    maxBodyMemoryBytes: 67_108_864,
    maxUnreadMemoryBytes: 67_108_864,
  })
  t.match(loadConfig('worker', { DATABASE_URL }), {
    workerConcurrency: 128,
    attemptLeaseSeconds: 15,
    shutdownGraceSeconds: 10,
  })
  t.match(loadConfig('relay', { DATABASE_URL }), {
    relayIntervalMs: 250,
    claimWindowSeconds: 5,
  })
  t.strictSame(loadConfig('migrate', { DATABASE_URL }), { databaseUrl: DATABASE_URL, logLevel: 'info' })
})

t.test('start needs no settings', async (t) => {
  const config = loadConfig('start', {})
  t.match(config, { dataDir: '.taskwire', port: 3000, workerConcurrency: 128, relayIntervalMs: 250 })
  t.equal(config.databaseUrl, undefined)
})

t.test('given values are converted to their types', async (t) => {
  const env = {
    DATABASE_URL,
    REDIS_URL: 'rediss://cache:6380/2',
    HOST: '::1',
    PORT: '0',
    HTTP_REQUEST_ALLOW_PRIVATE: 'true',
    LOG_LEVEL: 'silent',
  }
  t.match(loadConfig('web', env), {
    redisUrl: 'rediss://cache:6380/2',
    host: '::1',
    port: 0,
    httpRequestAllowPrivate: true,
    logLevel: 'silent',
  })
})

t.test('a value may come from a file, and the variable itself wins', async (t) => {
  const folder = t.testdir({ url: 'redis://:secret@cache:6379\n', empty: '' })
  const env = { DATABASE_URL, REDIS_URL_FILE: `${folder}/url` }
  t.equal(loadConfig('web', env).redisUrl, 'redis://:secret@cache:6379')
  t.equal(loadConfig('web', { ...env, REDIS_URL: '' }).redisUrl, 'redis://:secret@cache:6379')
  t.equal(loadConfig('web', { ...env, REDIS_URL: 'redis://other' }).redisUrl, 'redis://other')
  t.equal(loadConfig('web', { DATABASE_URL, REDIS_URL_FILE: `${folder}/empty` }).redisUrl, undefined)
  t.throws(
    () => loadConfig('web', { ...env, REDIS_URL_FILE: '/nowhere' }),
    new StartupError(
      'REDIS_URL_FILE=/nowhere: cannot read the file (ENOENT). Name a file that the user of this process can read.',
    ),
  )
  t.match(
    problemsOf(() => loadConfig('web', { DATABASE_URL_FILE: `${folder}/url` })).message,
    /^DATABASE_URL is wrong \(its value is not shown\)/,
  )
})

t.test('an empty variable counts as unset', async (t) => {
  const config = loadConfig('web', { DATABASE_URL, REDIS_URL: '', PORT: '' })
  t.equal(config.redisUrl, undefined)
  t.equal(config.port, 3000)
})

t.test('variables of other programs and roles are ignored', async (t) => {
  t.equal(loadConfig('worker', { DATABASE_URL, PORT: 'tcp://10.0.0.1:80', PATH: '/bin' }).workerConcurrency, 128)
})

t.test('all invalid values are reported at once, by name, with what is expected', async (t) => {
  const error = problemsOf(() =>
    loadConfig('start', {
      DATABASE_URL: 'mysql://localhost/x',
      REDIS_URL: 'localhost:6379',
      LOG_LEVEL: 'loud',
      HOST: 'http://localhost',
      PORT: '65536',
      DATABASE_POOL_SIZE: '0',
      WORKER_CONCURRENCY: 'many',
      ATTEMPT_LEASE_SECONDS: '2.5',
      SHUTDOWN_GRACE_SECONDS: '-1',
      HTTP_REQUEST_ALLOW_PRIVATE: 'yes',
      RELAY_INTERVAL_MS: '1e3',
      CLAIM_WINDOW_SECONDS: '5s',
      BROKER_WINDOW: '99',
    }),
  )
  t.ok(error instanceof StartupError)
  t.strictSame(error.message.split('\n').sort(), [
    'ATTEMPT_LEASE_SECONDS=2.5: expected a whole number from 3 to 3600 (default 15)',
    'BROKER_WINDOW=99: expected a whole number from 100 to 1000000 (default 10000)',
    'CLAIM_WINDOW_SECONDS=5s: expected a whole number from 1 to 300 (default 5)',
    'DATABASE_POOL_SIZE=0: expected a whole number from 1 to 100 (default 10)',
    'DATABASE_URL is wrong (its value is not shown): expected a URL such as postgres://user:password@host:5432/database, with @ / ? # % in user or password percent-encoded',
    'HOST=http://localhost: expected a host name or IP address, such as 127.0.0.1 (default 127.0.0.1)',
    'HTTP_REQUEST_ALLOW_PRIVATE=yes: expected true or false (default false)',
    'LOG_LEVEL=loud: expected one of fatal, error, warn, info, debug, trace, silent (default warn)',
    'PORT=65536: expected a whole number from 0 to 65535 (default 3000)',
    'REDIS_URL is wrong (its value is not shown): expected a URL such as redis://:password@host:6379/0 (rediss:// for TLS), with @ / ? # % in user or password percent-encoded',
    'RELAY_INTERVAL_MS=1e3: expected a whole number from 50 to 10000 (default 250)',
    'SHUTDOWN_GRACE_SECONDS=-1: expected a whole number from 0 to 600 (default 10)',
    'WORKER_CONCURRENCY=many: expected a whole number from 1 to 1000 (default 128)',
  ])
})

t.test('a URL that its client would misread is refused', async (t) => {
  const wrong = { DATABASE_URL, REDIS_URL: 'redis://cache:6379/jobs', ARTIFACTS_DIR: 's3://', QUEUES: 'A B' }
  t.strictSame(problemsOf(() => loadConfig('web', wrong)).message.split('\n'), [
    'REDIS_URL is wrong (its value is not shown): expected a URL such as redis://:password@host:6379/0 (rediss:// for TLS), with @ / ? # % in user or password percent-encoded',
    'QUEUES=A B: expected names separated by commas, such as reports,emails',
    'ARTIFACTS_DIR=s3://: expected the path of a folder, or a URL such as s3://bucket/prefix (default .taskwire/artifacts)',
  ])
  for (const path of ['', '/', '/15']) t.ok(loadConfig('web', { DATABASE_URL, REDIS_URL: `redis://cache${path}` }))
  t.ok(loadConfig('web', { DATABASE_URL, ARTIFACTS_DIR: 's3://bucket' }))
})

t.test('a missing database URL is reported together with the rest', async (t) => {
  const { problems } = problemsOf(() => loadConfig('worker', { WORKER_CONCURRENCY: '0' }))
  t.strictSame(problems.map(({ name }) => name).sort(), ['DATABASE_URL', 'WORKER_CONCURRENCY'])
  t.match(problemsOf(() => loadConfig('web', {})).message, /^DATABASE_URL is missing: expected a URL such as postgres:/)
})

t.test('incompatible values are reported', async (t) => {
  const slow = problemsOf(() =>
    loadConfig('relay', { DATABASE_URL, RELAY_INTERVAL_MS: '2000', CLAIM_WINDOW_SECONDS: '1' }),
  )
  t.match(slow.message, /^RELAY_INTERVAL_MS=2000: expected at most CLAIM_WINDOW_SECONDS \(1 s\)/)
  const starved = problemsOf(() => loadConfig('start', { WORKER_CONCURRENCY: '200', BROKER_WINDOW: '100' }))
  t.match(starved.message, /^WORKER_CONCURRENCY=200: expected at most BROKER_WINDOW \(100\)/)
})

t.test('a password in a value that is not secret is masked', async (t) => {
  for (const value of [
    'https://user:hush@host',
    'user:hush@host',
    'https://host/?password=hush',
    'x://u:hu@hush/hush@host',
  ]) {
    const { message } = problemsOf(() => loadConfig('web', { DATABASE_URL, ALLOWED_ORIGINS: value }))
    t.notMatch(message, 'hush', value)
    t.match(message, '***', value)
  }
})

t.test('the table describes every variable of every role', async (t) => {
  const rows = describeConfig()
  t.ok(rows.every(({ meaning, roles }) => meaning !== '' && roles.length > 0))
  const row = (name: string) => rows.find((candidate) => candidate.name === name)
  t.match(row('PORT'), { roles: ['start', 'web'], default: '3000' })
  t.match(row('LOG_LEVEL'), { roles: ['start', 'web', 'worker', 'relay', 'migrate'], default: 'info (start: warn)' })
  t.match(row('DATA_DIR'), { roles: ['start'], default: '.taskwire' })
  t.match(row('DATABASE_URL'), { default: '' })
})

t.test('TRUST_PROXY takes addresses, and refuses a number of hops with a hint', async (t) => {
  for (const value of [
    '10.0.0.5',
    '10.0.0.0/8, 192.168.1.1',
    '::1',
    'fd00::/8',
    'loopback',
    'linklocal,uniquelocal',
    '0.0.0.0',
  ]) {
    t.equal(loadConfig('web', { DATABASE_URL, TRUST_PROXY: value }).trustProxy, value)
  }
  for (const value of [
    '1',
    '0',
    '2',
    '-1',
    'true',
    'false',
    'yes',
    '*',
    'all',
    'nginx',
    '10.0.0',
    '10.0.0.0/33',
    '10.0.0.0/0',
    '::/0',
    '::1/129',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/08',
    '010.0.0.1',
    '127.1',
    '10.0.0.5 10.0.0.6',
    'loopback,1',
    'loopback/8',
  ]) {
    t.match(
      problemsOf(() => loadConfig('web', { DATABASE_URL, TRUST_PROXY: value })).message,
      /^TRUST_PROXY=.* expected addresses or networks such as 10\.0\.0\.5.*A number of hops or true would let every client choose/,
      value,
    )
  }
})

t.test('ALLOWED_HOSTS takes names, without other parts of a URL', async (t) => {
  for (const value of ['tasks.example.com', 'a.example, b.example.', '*', 'bücher.example', 'web_1', 'localhost']) {
    t.equal(loadConfig('web', { DATABASE_URL, ALLOWED_HOSTS: value }).allowedHosts, value)
  }
  for (const value of [
    'https://tasks.example.com',
    'tasks.example.com:443',
    'tasks.example.com/x',
    '*.example.com',
    'a b',
    'user@host',
  ]) {
    t.match(
      problemsOf(() => loadConfig('web', { DATABASE_URL, ALLOWED_HOSTS: value })).message,
      /^ALLOWED_HOSTS=.* without scheme and port/,
      value,
    )
  }
})
