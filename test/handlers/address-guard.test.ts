import type { LookupAddress } from 'node:dns'
import t from 'tap'
import {
  createAddressGuard,
  AddressRefusedError,
  whyNotPublic,
  type Resolve,
} from '../../src/handlers/address-guard.js'

const guard = createAddressGuard({ allowPrivate: false })

/** URLs in every notation for addresses that are not public. */
const REFUSED_HOSTS = `
  loopback:         127.0.0.1 127.0.0.1. 127.1 127.0.1 127.255.255.254 0x7f.1 0x7f.0.0.1 0x7F000001 0177.0.0.1
                    017700000001 2130706433 127.0x0.0.1 %31%32%37.0.0.1 127。0。0。1 ①②⑦.0.0.1 １２７.0.0.1
                    [::1] [0:0:0:0:0:0:0:1] [0000::0001] localhost LOCALHOST localhost. api.localhost ｌocalhost
  IPv4-in-IPv6:     [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:8.8.8.8] [::ffff:0:127.0.0.1] [::127.0.0.1] [::7f00:1]
  NAT64:            [64:ff9b::127.0.0.1] [64:ff9b::808:808] [64:ff9b:1::a00:1]
  6to4-and-Teredo:  [2002:7f00:1::] [2002:a00:1::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2]
  unspecified:      0 0.0.0.0 0.1.2.3 [::]
  private:          10.0.0.1 10.255.255.255 0xa.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.257 3232235521
                    [fc00::1] [fdff::1] [fec0::1]
  carrier-NAT:      100.64.0.1 100.127.255.255
  link-local:       169.254.0.1 169.254.255.255 [fe80::1] [febf::1]
  cloud-metadata:   169.254.169.254 0xA9FEA9FE 2852039166 100.100.100.200 192.0.0.192 168.63.129.16 [fd00:ec2::254]
  multicast:        224.0.0.1 239.255.255.255 [ff02::1] [ff0e::1]
  reserved:         255.255.255.255 240.0.0.1 192.88.99.1 [100::1] [5f00::1] [4000::1] [1::1] [fe00::1]
  testing-and-docs: 198.18.0.1 198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1 [2001:db8::1] [3fff::1] [2001:2::1]
`
  .split(/\s+/)
  .filter((word) => word !== '' && !/[^\]]:$/.test(word))

t.test(`none of ${REFUSED_HOSTS.length} spellings of an address that is not public gets through`, async (t) => {
  for (const host of REFUSED_HOSTS) {
    t.throws(() => guard.checkUrl(new URL(`http://${host}/`)), AddressRefusedError, host)
  }
})

t.test('a spelling that the URL standard refuses never becomes a URL', async (t) => {
  for (const host of [
    '127.0.0.256',
    '0x7f.0.0.0.1',
    '[::1%25lo]',
    '[fe80::1%eth0]',
    '1.2.3.4.5',
    '[::ffff:127.1]',
    '08.1',
  ]) {
    t.notOk(URL.canParse(`http://${host}/`), host)
  }
})

t.test('a public address is allowed', async (t) => {
  for (const host of [
    '8.8.8.8',
    '1.1.1.1',
    '172.32.0.1',
    '100.128.0.1',
    '169.253.1.1',
    '[2606:4700:4700::1111]',
    '[2a00:1450:4001::1]',
  ]) {
    t.doesNotThrow(() => guard.checkUrl(new URL(`https://${host}/`)), host)
  }
})

t.test('a name passes the check of the URL, and is checked when it is resolved', async (t) => {
  t.doesNotThrow(() => guard.checkUrl(new URL('http://example.com/')))
  await t.rejects(resolveWith(guard, 'localhost'), AddressRefusedError, 'as the operating system resolves it')
})

t.test('ports other than 80 and 443, credentials and other schemes are refused', async (t) => {
  for (const url of [
    'http://8.8.8.8:22/',
    'http://8.8.8.8:8080/',
    'https://example.com:6379/',
    'http://example.com:0/',
  ]) {
    t.throws(() => guard.checkUrl(new URL(url)), { message: /^port \d+ is refused.*HTTP_REQUEST_ALLOW_PRIVATE/ }, url)
  }
  for (const url of [
    'http://8.8.8.8:443/',
    'https://8.8.8.8:80/',
    'http://example.com:80/',
    'https://example.com:443/',
  ]) {
    t.doesNotThrow(() => guard.checkUrl(new URL(url)), url)
  }
  const open = createAddressGuard({ allowPrivate: true })
  for (const url of ['http://user:secret@example.com/', 'http://user@example.com/', 'http://:secret@example.com/']) {
    t.throws(() => open.checkUrl(new URL(url)), { message: /user name or password/ }, url)
  }
  for (const url of ['file:///etc/passwd', 'ftp://example.com/', 'gopher://example.com/', 'data:text/plain,x']) {
    t.throws(() => open.checkUrl(new URL(url)), { message: /must begin with http/ }, url)
  }
})

t.test('a name is refused when any of its addresses is not public', async (t) => {
  const refused = [
    ['127.0.0.1'],
    ['::1'],
    ['8.8.8.8', '10.0.0.1'],
    ['2606:4700::1', 'fd00::1'],
    ['::ffff:10.0.0.1'],
    ['fe80::1%eth0'],
    ['nonsense'],
  ]
  for (const addresses of refused) {
    const guard = createAddressGuard({ allowPrivate: false, resolve: answer(addresses) })
    await t.rejects(resolveWith(guard, 'example.test'), AddressRefusedError, addresses.join(', '))
  }
})

t.test('the message names the host and the fix, not the address behind the host', async (t) => {
  const guard = createAddressGuard({ allowPrivate: false, resolve: answer(['10.1.2.3']) })
  await t.rejects(resolveWith(guard, 'db.internal'), {
    message:
      'db.internal resolves to an address that is not public (private). ' +
      'Use a public address, or have the operator set HTTP_REQUEST_ALLOW_PRIVATE=true.',
  })
})

t.test('a socket gets exactly the addresses that were checked, from one resolution', async (t) => {
  let resolutions = 0
  // A resolver that answers differently the second time.
  const resolve: Resolve = async () => [{ address: ++resolutions === 1 ? '8.8.8.8' : '127.0.0.1', family: 4 }]
  const guard = createAddressGuard({ allowPrivate: false, resolve })
  t.strictSame(await resolveWith(guard, 'rebinding.test'), [{ address: '8.8.8.8', family: 4 }])
  t.equal(resolutions, 1)
  await t.rejects(resolveWith(guard, 'rebinding.test'), AddressRefusedError, 'the next connection is checked again')
})

t.test('a socket that asks for one address receives the first', async (t) => {
  const guard = createAddressGuard({ allowPrivate: false, resolve: answer(['2606:4700::1', '8.8.8.8']) })
  const first = await new Promise((resolve) =>
    guard.lookup('example.test', {}, (_error, address, family) => resolve({ address, family })),
  )
  t.strictSame(first, { address: '2606:4700::1', family: 6 })
})

t.test('a name without addresses, or that cannot be resolved, is an error', async (t) => {
  await t.rejects(resolveWith(createAddressGuard({ allowPrivate: false, resolve: answer([]) }), 'empty.test'), {
    message: /no address/,
  })
  const failing: Resolve = () => Promise.reject(new Error('SERVFAIL'))
  await t.rejects(resolveWith(createAddressGuard({ allowPrivate: false, resolve: failing }), 'down.test'), {
    message: 'SERVFAIL',
  })
})

t.test('if private addresses are allowed, all of them pass', async (t) => {
  const open = createAddressGuard({ allowPrivate: true, resolve: answer(['10.0.0.1']) })
  for (const host of REFUSED_HOSTS) t.doesNotThrow(() => open.checkUrl(new URL(`http://${host}:8080/`)), host)
  t.strictSame(await resolveWith(open, 'db.internal'), [{ address: '10.0.0.1', family: 4 }])
})

t.test('a text that is not an address is not public', async (t) => {
  t.equal(whyNotPublic('example.com'), 'malformed')
  t.equal(whyNotPublic(''), 'malformed')
})

function answer(addresses: readonly string[]): Resolve {
  return async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
}

function resolveWith(
  guard: ReturnType<typeof createAddressGuard>,
  hostname: string,
): Promise<string | LookupAddress[]> {
  return new Promise((resolve, reject) => {
    guard.lookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })
}
