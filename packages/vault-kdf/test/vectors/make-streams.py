#!/usr/bin/env python3
"""Makes streams.json: sealed streams and blind indexes by docs/spec/vault-kdf.md §12 and §13, with no code of the package.

Run: python3 make-streams.py > streams.json (needs the package `cryptography`).
"""
import hashlib, hmac, json
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def lp(*parts):
    parts = [part.encode() if isinstance(part, str) else part for part in parts]
    return b''.join(len(part).to_bytes(4, 'big') + part for part in parts)


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf32(secret, info):
    return mac(mac(bytes(32), secret), info + b'\x01')


CHUNK = 65536
HEADER = b'\x89HXS\x01\x01\x10\x00'


def seal(secret, text):
    aead = AESGCM(hkdf32(secret, lp('hxv1/stream', HEADER)))
    chunks = [text[at:at + CHUNK] for at in range(0, len(text), CHUNK)] or [b'']
    out = HEADER
    for index, chunk in enumerate(chunks):
        nonce = bytes(7) + index.to_bytes(4, 'big') + bytes([index == len(chunks) - 1])
        out += aead.encrypt(nonce, chunk, HEADER)
    return out


def counter(length):
    return bytes(index % 251 for index in range(length))


streams = []
for length in [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17]:
    secret = hashlib.sha256(b'stream %d' % length).digest()
    sealed = seal(secret, counter(length))
    case = {'secret': secret.hex(), 'length': length, 'sealedLength': len(sealed), 'sealedSha256': hashlib.sha256(sealed).hexdigest()}
    streams.append(case | ({'sealed': sealed.hex()} if length <= 100 else {}))

indexes = []
for number, (partition, column, generation, bits, value) in enumerate([
    ('tenant-a', 'users.email', 1, 256, 'a@example.org'),
    ('tenant-b', 'users.email', 1, 256, 'a@example.org'),
    ('tenant-a', 'users.email', 2, 256, 'a@example.org'),
    ('tenant-a', 'users.phone', 1, 16, ''),
    ('mandant-\u00e4', 'feld', 4294967295, 8, 'gr\u00fcn'),
]):
    secret = hashlib.sha256(b'index %d' % number).digest()
    key = hkdf32(secret, lp('hxv1/blind-index', partition, column, generation.to_bytes(4, 'big')))
    index = mac(key, lp('hxv1/blind-index', value))[: bits // 8]
    indexes.append({'secret': secret.hex(), 'partition': partition, 'column': column, 'generation': generation, 'bits': bits, 'value': value, 'index': index.hex()})
print(json.dumps({'streams': streams, 'indexes': indexes}, indent=1, ensure_ascii=False))
