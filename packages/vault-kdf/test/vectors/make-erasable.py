#!/usr/bin/env python3
"""Makes erasable.json: envelopes of format 2, by the spec alone (docs/spec/vault-kdf.md §2 to §4), with no code of the package.

Run: python3 make-erasable.py > erasable.json (needs the package `cryptography`).
"""
import hashlib, hmac, json
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def lp(*parts):
    out = b''
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        out += len(part).to_bytes(4, 'big') + part
    return out


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, counter = b'', b'', 1
    while len(out) < length:
        block = mac(prk, block + info + bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:length]


TAGS = ['rest', 'access', 'session']


def seal(master, secret, version, place, text, salt):
    partition, cell, name, layer, policy, session = place
    contexts = ['', policy, session][: layer + 1]
    key = expand(mac(b'hxv1', master + secret), lp('hxv1/erasable-partition', version.to_bytes(4, 'big'), partition), 32)
    header = b'\x89HXV' + bytes([2, 1, layer, 0]) + version.to_bytes(4, 'big')
    prk = mac(salt, key)
    prefix = header + salt + expand(prk, lp('hxv1/commit', header, cell, name, *contexts), 32)
    body = text
    for index in range(layer + 1):
        okm = expand(prk, lp('hxv1/layer', header, cell, name, TAGS[index], contexts[index]), 44)
        body = AESGCM(okm[:32]).encrypt(okm[32:], body, prefix + bytes([index]))
    return key, prefix + body


cases = []
for number, (version, place, text) in enumerate([
    (1, ('tenant-a', 'user-1', 'email', 0, '', ''), b'a@example.org'),
    (7, ('tenant-a', 'user-1', '', 0, '', ''), b''),
    (2, ('tenant-b', 'cell', 'note', 1, 'policy-1', ''), bytes(range(256))),
    (4294967295, ('mandant-\u00e4', 'zelle', 'n', 2, 'policy-1', 'session-9'), b'session text'),
]):
    master = hashlib.sha256(b'master %d' % number).digest()
    secret = hashlib.sha256(b'secret %d' % number).digest()
    salt = hashlib.sha256(b'salt %d' % number).digest()
    key, envelope = seal(master, secret, version, place, text, salt)
    cases.append({
        'master': master.hex(), 'secret': secret.hex(), 'salt': salt.hex(), 'version': version,
        'partition': place[0], 'cell': place[1], 'name': place[2], 'layer': place[3], 'policy': place[4], 'session': place[5],
        'plaintext': text.hex(), 'partitionKey': key.hex(), 'envelope': envelope.hex(),
    })
print(json.dumps({'cases': cases}, indent=1, ensure_ascii=False))
