#!/usr/bin/env python3
"""Makes shares.json: sets of shares by docs/spec/vault-kdf.md §15, with no code of the package and another field arithmetic.

Run: python3 make-shares.py > shares.json
"""
import hashlib, hmac, json

Z32 = 'ybndrfg8ejkmcpqxot1uwisza345h769'


def lp(text):
    return len(text).to_bytes(4, 'big') + text.encode()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def times(a, b):
    """Shift and add in GF(2^8), modulo x^8 + x^4 + x^3 + x + 1."""
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11b if a & 0x80 else 0)
        b >>= 1
    return out


def z32(data):
    bits = ''.join(f'{byte:08b}' for byte in data)
    bits += '0' * (-len(bits) % 5)
    return ''.join(Z32[int(bits[at:at + 5], 2)] for at in range(0, len(bits), 5))


def value(coefficients, x):
    out = 0
    for coefficient in reversed(coefficients):
        out = times(out, x) ^ coefficient
    return out


def stream(label):
    counter = 0
    while True:
        yield from hashlib.sha256(label + counter.to_bytes(4, 'big')).digest()
        counter += 1


sets = []
for number, (threshold, count) in enumerate([(2, 2), (2, 3), (3, 5), (5, 5)]):
    noise = stream(b'set %d' % number)
    secret, set_id = bytes(next(noise) for _ in range(32)), bytes(next(noise) for _ in range(8))
    check = mac(mac(set_id, secret), lp('hxv1/share-check') + b'\x01')[:8]
    polynomials = [[byte] + [next(noise) for _ in range(threshold - 1)] for byte in secret]
    shares = []
    for index in range(count):
        x = 7 + 40 * index
        point = bytes(value(p, x) for p in polynomials) + bytes([x])
        body = b'\x01' + set_id + bytes([threshold, count, index + 1]) + check + point
        text = z32(body + hashlib.sha256(body).digest()[:4])
        shares.append('-'.join(['ktshare1'] + [text[at:at + 5] for at in range(0, len(text), 5)]))
    sets.append({'secret': secret.hex(), 'threshold': threshold, 'set': set_id.hex(), 'shares': shares})
print(json.dumps({'sets': sets}, indent=1))
