#!/usr/bin/env python3
"""Computes the test vectors of .m2p version 2 from docs/spec/m2pack-v2.md, with nothing but the standard library.

It shares no code with the package: `python3 m2p-v2.py` prints what m2p-v2.json must hold, and a test compares the two.
It is written to be read beside the specification, not to be fast or safe against side channels.
"""
import hashlib
import hmac as hmac_module
import json
import struct


# ---- primitives: RFC 8439, draft-irtf-cfrg-xchacha, RFC 8032 ----

def hmac(key, *parts):
    return hmac_module.new(key, b"".join(parts), hashlib.sha256).digest()


def rotate(value, bits):
    return ((value << bits) | (value >> (32 - bits))) & 0xFFFFFFFF


def quarter(s, a, b, c, d):
    s[a] = (s[a] + s[b]) & 0xFFFFFFFF
    s[d] = rotate(s[d] ^ s[a], 16)
    s[c] = (s[c] + s[d]) & 0xFFFFFFFF
    s[b] = rotate(s[b] ^ s[c], 12)
    s[a] = (s[a] + s[b]) & 0xFFFFFFFF
    s[d] = rotate(s[d] ^ s[a], 8)
    s[c] = (s[c] + s[d]) & 0xFFFFFFFF
    s[b] = rotate(s[b] ^ s[c], 7)


def twenty_rounds(state):
    s = list(state)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(s, a, b, c, d)
        for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, a, b, c, d)
    return s


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def hchacha20(key, nonce16):
    s = twenty_rounds(CONSTANTS + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))
    return struct.pack("<8I", *(s[:4] + s[12:]))


def chacha20(key, nonce12, counter, data):
    out = bytearray()
    for block in range(0, len(data), 64):
        state = CONSTANTS + struct.unpack("<8I", key) + (counter + block // 64,) + struct.unpack("<3I", nonce12)
        stream = struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(twenty_rounds(state), state)))
        out += bytes(x ^ y for x, y in zip(data[block:block + 64], stream))
    return bytes(out)


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at:at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def seal(key, nonce, plain, aad):
    """XChaCha20-Poly1305: ciphertext, then the 16 bytes of the tag."""
    subkey, short = hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]
    cipher = chacha20(subkey, short, 1, plain)
    pad = lambda data: data + bytes(-len(data) % 16)
    lengths = struct.pack("<QQ", len(aad), len(cipher))
    return cipher + poly1305(chacha20(subkey, short, 0, bytes(32)), pad(aad) + pad(cipher) + lengths)


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def encode(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed25519(seed, message=None):
    """The public key of a seed, or the signature over a message."""
    h = hashlib.sha512(seed).digest()
    a = int.from_bytes(h[:32], "little") & (2**254 - 8) | 2**254
    public = encode(multiply(a, BASE))
    if message is None:
        return public
    r = int.from_bytes(hashlib.sha512(h[32:] + message).digest(), "little") % L
    big_r = encode(multiply(r, BASE))
    k = int.from_bytes(hashlib.sha512(big_r + public + message).digest(), "little") % L
    return big_r + ((r + k * a) % L).to_bytes(32, "little")


# ---- the format: docs/spec/m2pack-v2.md ----

def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def rle_frame(byte, count):
    """One zstd frame by hand: `count` times `byte`, 256 to 65,791 bytes, as one run (RFC 8878 §3.1.1)."""
    return b"\x28\xb5\x2f\xfd" + b"\x60" + u16(count - 256) + struct.pack("<I", count << 3 | 1 << 1 | 1)[:3] + byte


def seal_file(secret, file):
    """§3: the file key depends on slot and path, each nonce on what is encrypted, and nothing on order or number."""
    path = file["path"].encode()
    name = u16(len(path)) + path
    key = hmac(secret, b"m2pack file key v2", name)
    segments = []
    for original, bytes_ in file["segments"]:
        nonce = hmac(secret, b"m2pack nonce v2", name, bytes_)[:24]
        segments.append({"original": original, "nonce": nonce, "stored": seal(key, nonce, bytes_, path)})
    return {"path": path, "key": key, "segments": segments}


def build(archive):
    key_id, content_key, slots = archive["key_id"], archive["content_key"], archive["slots"]
    payload, table, files = b"", b"", []
    for file in archive["files"]:
        sealed = seal_file(slots[file["slot"]], file)
        payload += bytes(-(128 + len(payload)) % archive["align"])
        plain = file["plain"]
        compressed = any(len(one["stored"]) < one["original"] + 16 for one in sealed["segments"])
        table += u16(len(sealed["path"])) + sealed["path"] + u64(len(plain)) + u32(file["slot"])
        table += bytes([compressed, file.get("executable", False), 0, 0])
        table += hashlib.sha256(plain).digest() + u32(len(sealed["segments"]))
        if archive["flags"] & 4:
            table += u64(file["mtime_ms"])
        start = 128 + len(payload)
        for one in sealed["segments"]:
            table += u32(one["original"]) + u32(len(one["stored"])) + one["nonce"]
            payload += one["stored"]
        files.append({
            "path": file["path"], "size": len(plain), "sha256": hashlib.sha256(plain).hexdigest(),
            "slot": file["slot"], "executable": bool(file.get("executable", False)),
            **({"mtime_ms": file["mtime_ms"]} if archive["flags"] & 4 else {}),
            "offset": start, "file_key": sealed["key"].hex(),
            "segments": [{"original_size": one["original"], "stored_size": len(one["stored"]),
                          "nonce": one["nonce"].hex(), "stored": one["stored"].hex()} for one in sealed["segments"]],
        })
    commitment = hmac(content_key, b"m2pack key commitment v1", u32(key_id))
    preamble = b"M2MF" + u32(2) + u32(key_id) + u32(len(archive["files"])) + u32(archive["segment_size"])
    preamble += u32(archive["flags"]) + u32(len(slots)) + u32(archive["align"]) + commitment
    wrap_key = hmac(content_key, b"m2pack wrap key v1", u32(key_id))
    wrapped, slot_values = b"", []
    for number, secret in sorted(slots.items()):
        nonce = hmac(content_key, b"m2pack slot nonce v1", u32(key_id), u32(number), secret)[:24]
        sealed_slot = seal(wrap_key, nonce, secret, b"m2pack slot v1" + u32(key_id) + u32(number))
        wrapped += u32(number) + nonce + sealed_slot
        slot_values.append({"number": number, "secret": secret.hex(), "nonce": nonce.hex(),
                            "wrapped": sealed_slot.hex()})
    values = {"commitment": commitment.hex(), "wrap_key": wrap_key.hex()}
    entries = table
    if archive["flags"] & 2:
        table_key = hmac(content_key, b"m2pack table key v2", u32(key_id))
        table_nonce = hmac(content_key, b"m2pack table nonce v2", preamble, table)[:24]
        values |= {"table_key": table_key.hex(), "table_nonce": table_nonce.hex()}
        table = table_nonce + seal(table_key, table_nonce, table, preamble)
    manifest = preamble + wrapped + table
    manifest_hash = hashlib.blake2b(manifest, digest_size=32).digest()
    signature = ed25519(archive["seed"], manifest)
    header = b"M2PACK2\0" + u32(2) + u32(key_id) + u64(128 + len(payload)) + u64(len(manifest))
    header += manifest_hash + signature
    return {
        "key_id": key_id, "content_key": content_key.hex(), "signing_seed": archive["seed"].hex(),
        "public_key": ed25519(archive["seed"]).hex(), "segment_size": archive["segment_size"],
        "align": archive["align"], "flags": archive["flags"], "slots": slot_values, **values, "files": files,
        "entries": entries.hex(), "preamble": preamble.hex(), "manifest_hash": manifest_hash.hex(),
        "signature": signature.hex(), "archive": (header + payload + manifest).hex(),
    }


def file_of(path, plain, **more):
    return {"path": path, "plain": plain, "segments": [(len(plain), plain)], "slot": 1, **more}


KEYS = {"key_id": 3, "content_key": b"\xc1" * 32, "seed": b"\x5e" * 32}
SMALL = [
    file_of("bin/run.sh", b"#!/bin/sh\n", executable=True, mtime_ms=1_700_000_000_000),
    file_of("empty", b"", mtime_ms=0),
    file_of("hello.txt", b"hello, player\n", mtime_ms=1_000),
]
NOISE = bytes(i * 7 & 255 for i in range(100))
LARGE = {
    "path": "big.dat", "plain": b"a" * 32768 + NOISE, "slot": 2, "mtime_ms": 1_600_000_000_123,
    # Three segments: two equal runs as zstd frames, and the rest as it is.
    "segments": [(16384, rle_frame(b"a", 16384)), (16384, rle_frame(b"a", 16384)), (100, NOISE)],
}


# ---- cuts: §3.1 ----

GEAR_SEED = hashlib.sha256(b"gear-v1").digest()
GEAR = [struct.unpack("<I", hashlib.sha256(GEAR_SEED + bytes([b])).digest()[:4])[0] for b in range(256)]


def cut(data, segment_size):
    if len(data) <= segment_size:
        return [len(data)]
    bits = segment_size.bit_length() - 1
    least, most = segment_size // 4, segment_size * 4
    lengths, start = [], 0
    while start < len(data):
        gear, end = 0, min(len(data), start + most)
        for at in range(start + least, end):
            gear = (gear << 1) + GEAR[data[at]] & 0xFFFFFFFF
            top = bits + 2 if at - start < segment_size else bits - 2
            if gear >> (32 - top) == 0:
                end = at + 1
                break
        lengths.append(end - start)
        start = end
    return lengths


def stream(count):
    """SHA-256 of u32 0, 1, 2 and so on, one after the other."""
    blocks = (hashlib.sha256(u32(i)).digest() for i in range(count // 32 + 1))
    return b"".join(blocks)[:count]


def cut_case(size, segment_size):
    return {"stream_bytes": size, "segment_size": segment_size, "lengths": cut(stream(size), segment_size)}


vectors = {
    "comment": "Written by m2p-v2.py; docs/spec/m2pack-v2.md says what each value is. Bytes are hex",
    "plain": build({**KEYS, "slots": {1: b"\x51" * 32}, "segment_size": 1 << 20, "align": 1, "flags": 0,
                    "files": SMALL}),
    "sealed": build({**KEYS, "slots": {1: b"\x51" * 32}, "segment_size": 1 << 20, "align": 16, "flags": 6,
                     "files": SMALL}),
    "segments": build({**KEYS, "slots": {1: b"\x51" * 32, 2: b"\x52" * 32}, "segment_size": 65536, "align": 64,
                       "flags": 4, "files": [LARGE, SMALL[2]]}),
    "gear": [f"{value:08x}" for value in GEAR[:4]],
    "cuts": [cut_case(65536, 65536), cut_case(65537, 65536), cut_case(1_000_000, 65536),
             cut_case(1_500_000, 131072)],
}
print(json.dumps(vectors, indent=2))
