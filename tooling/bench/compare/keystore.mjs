/** Tokens of a command-line tool, beside conf, age-encryption and the program age. Each start is a fresh process. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createKeystore, openKeystore } from '@keyturn/keystore/node'
import { cpuRow, hasProgram, peer, program, row } from './measure.mjs'

const [RANDOM, PASSPHRASE, CONF, AGE_KEY, AGE_PASS, AGE] = [
  'keystore, random secret',
  'keystore, passphrase',
  'conf, encryptionKey',
  'age-encryption, key',
  'age-encryption, passphrase',
  'age (Go), key',
]
const folder = mkdtempSync(join(tmpdir(), 'keyturn-compare-'))
const at = (name) => join(folder, name)
const [conf, age] = await Promise.all(['conf', 'age-encryption'].map(peer))
const hex = 'ab'.repeat(32)
const TOKEN = 'ghp_0123456789'

const random = await createKeystore(at('random'), { randomSecret: Buffer.from(hex, 'hex') })
await random.putText('token', TOKEN)
random.close()
const slow = await createKeystore(at('slow'), 'correct horse')
await slow.putText('token', TOKEN)
slow.close()
if (conf !== undefined) new conf.default({ cwd: folder, configName: 'conf', encryptionKey: hex }).set('token', TOKEN)
if (age !== undefined) {
  const identity = await age.generateIdentity()
  const recipient = await age.identityToRecipient(identity)
  const encrypter = new age.Encrypter()
  encrypter.addRecipient(recipient)
  writeFileSync(at('key.age'), await encrypter.encrypt(TOKEN))
  writeFileSync(at('identity'), `${identity}\n`, { mode: 0o600 })
  const slowEncrypter = new age.Encrypter()
  slowEncrypter.setPassphrase('correct horse')
  writeFileSync(at('pass.age'), await slowEncrypter.encrypt(TOKEN))
}

const open = (path, secret) => `import { openKeystore } from '@keyturn/keystore/node'
const keystore = await openKeystore(${JSON.stringify(at(path))}, ${secret})
process.stdout.write(await keystore.readText('token')); keystore.close()`
const ageSource = (file, key) => `import { readFileSync } from 'node:fs'
import { Decrypter } from 'age-encryption'
const decrypter = new Decrypter(); ${key}
process.stdout.write(await decrypter.decrypt(readFileSync(${JSON.stringify(at(file))}), 'text'))`
const node = (source) => () => {
  const cost = program([process.execPath, '--input-type=module', '--eval', source])
  if (cost.stdout.toString() !== TOKEN) throw new Error('Another value was read')
  return cost
}
const confSource = `import Conf from 'conf'
const conf = new Conf({ cwd: ${JSON.stringify(folder)}, configName: 'conf', encryptionKey: '${hex}' })
process.stdout.write(conf.get('token'))`
await cpuRow(
  'start to value, a fresh process, processor time',
  {
    [RANDOM]: node(open('random', `{ randomSecret: Buffer.from('${hex}', 'hex') }`)),
    [PASSPHRASE]: node(open('slow', "'correct horse'")),
    [CONF]: conf && node(confSource),
    [AGE_KEY]:
      age &&
      node(
        ageSource('key.age', `decrypter.addIdentity(readFileSync(${JSON.stringify(at('identity'))}, 'utf8').trim())`),
      ),
    [AGE_PASS]: age && node(ageSource('pass.age', "decrypter.addPassphrase('correct horse')")),
    [AGE]: age && hasProgram('age') ? () => program(['age', '-d', '-i', at('identity'), at('key.age')]) : undefined,
  },
  { rounds: 5 },
)

/** Five processes write ten values each into one file, at once. */
async function writers(source) {
  const children = Array.from({ length: 5 }, (_, number) =>
    spawn(process.execPath, ['--input-type=module', '--eval', source(number)], { stdio: ['ignore', 'ignore', 'pipe'] }),
  )
  await Promise.all(children.map((child) => once(child, 'exit')))
}
await writers(
  (number) => `import { openKeystore } from '@keyturn/keystore/node'
for (let at = 0; at < 10; at += 1) {
  const keystore = await openKeystore(${JSON.stringify(at('random'))}, { randomSecret: Buffer.from('${hex}', 'hex') })
  await keystore.putText('w/${number}/' + at, 'x'); keystore.close()
}`,
)
const after = await openKeystore(at('random'), { randomSecret: Buffer.from(hex, 'hex') })
const figures = { [RANDOM]: `${after.list().filter(({ alias }) => alias.startsWith('w/')).length} of 50` }
after.close()
if (conf !== undefined) {
  await writers(
    (number) => `import Conf from 'conf'
for (let at = 0; at < 10; at += 1)
  new Conf({ cwd: ${JSON.stringify(folder)}, configName: 'conf', encryptionKey: '${hex}' }).set('w${number}-' + at, 'x')`,
  )
  const store = new conf.default({ cwd: folder, configName: 'conf', encryptionKey: hex }).store
  figures[CONF] = `${Object.keys(store).filter((name) => name.startsWith('w')).length} of 50`
}
row('values of five processes that write ten each at once', figures)
rmSync(folder, { recursive: true })
