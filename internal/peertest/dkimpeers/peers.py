"""Signs and verifies messages with python3-dkim and with libopendkim, the library of opendkim.

Reads one JSON object a line and answers each with one. The first names the keys: {"records": {name: text},
"rsa": PEM, "ed": PEM, "seed": base64 of the Ed25519 seed, "file": path of a file that may be written}.
"""
import base64
import ctypes
import json
import sys

import dkim

keys = json.loads(sys.stdin.readline())


def dkimpy_sign(message, job):
    ed = job["algorithm"] == "ed25519-sha256"
    header, body = job["canons"].encode().split(b"/")
    field = dkim.sign(
        message, job["selector"].encode(), b"example.org",
        (keys["seed"] if ed else keys["rsa"]).encode(),
        canonicalize=(header, body), signature_algorithm=job["algorithm"].encode())
    return field + message


def dkimpy_verify(message):
    def txt(name, timeout=5):
        return keys["records"].get(name.decode().rstrip("."), "").encode()
    return dkim.DKIM(message).verify(dnsfunc=txt)


class OpenDKIM:
    """The few calls of libopendkim that signing and verifying take; the numbers are those of its dkim.h."""
    CANON = {"simple": 0, "relaxed": 1}
    ALGORITHM = {"rsa-sha256": 1, "ed25519-sha256": 2}

    def __init__(self):
        c = ctypes.CDLL("libopendkim.so.11")
        c.dkim_init.restype = ctypes.c_void_p
        c.dkim_sign.restype = c.dkim_verify.restype = ctypes.c_void_p
        c.dkim_sign.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p,
                                ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t,
                                ctypes.POINTER(ctypes.c_int)]
        c.dkim_verify.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        c.dkim_chunk.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        c.dkim_eom.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        c.dkim_free.argtypes = [ctypes.c_void_p]
        c.dkim_options.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
        c.dkim_getsighdr_d.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_char_p),
                                       ctypes.POINTER(ctypes.c_size_t)]
        self.c = c
        self.lib = c.dkim_init(None, None)
        with open(keys["file"], "w") as f:
            for name, text in keys["records"].items():
                f.write(name + " " + text + "\n")
        method = ctypes.c_int(1)  # DKIM_QUERY_FILE
        self.path = ctypes.create_string_buffer(keys["file"].encode())
        if c.dkim_options(self.lib, 1, 6, ctypes.byref(method), ctypes.sizeof(method)):
            raise RuntimeError("dkim_options: query method")
        if c.dkim_options(self.lib, 1, 7, self.path, len(self.path.value)):
            raise RuntimeError("dkim_options: query info")

    def feed(self, handle, message):
        for what, status in (("chunk", self.c.dkim_chunk(handle, message, len(message))),
                             ("end", self.c.dkim_chunk(handle, None, 0)),
                             ("eom", self.c.dkim_eom(handle, None))):
            if status:
                return "%s: %d" % (what, status)
        return ""

    def sign(self, message, job):
        status = ctypes.c_int()
        header, body = job["canons"].split("/")
        key = keys["ed" if job["algorithm"] == "ed25519-sha256" else "rsa"].encode()
        h = self.c.dkim_sign(self.lib, b"job", None, key, job["selector"].encode(), b"example.org", self.CANON[header],
                             self.CANON[body], self.ALGORITHM[job["algorithm"]], -1, ctypes.byref(status))
        if not h:
            raise RuntimeError("dkim_sign: %d" % status.value)
        wrong = self.feed(h, message)
        if wrong:
            raise RuntimeError(wrong)
        text, n = ctypes.c_char_p(), ctypes.c_size_t()
        status = self.c.dkim_getsighdr_d(h, len("DKIM-Signature: "), ctypes.byref(text), ctypes.byref(n))
        if status:
            raise RuntimeError("dkim_getsighdr_d: %d" % status)
        value = text.value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self.c.dkim_free(h)
        return b"DKIM-Signature: " + value + b"\r\n" + message

    def verify(self, message):
        status = ctypes.c_int()
        h = self.c.dkim_verify(self.lib, b"job", None, ctypes.byref(status))
        if not h:
            raise RuntimeError("dkim_verify: %d" % status.value)
        wrong = self.feed(h, message)
        self.c.dkim_free(h)
        if wrong and wrong != "eom: 1":
            raise RuntimeError(wrong)
        return not wrong


opendkim = OpenDKIM()
for line in sys.stdin:
    job = json.loads(line)
    message = base64.b64decode(job["message"])
    answer = {}
    try:
        if job["op"] == "verify":
            verify = dkimpy_verify if job["peer"] == "python3-dkim" else opendkim.verify
            answer["pass"] = bool(verify(message))
        else:
            sign = dkimpy_sign if job["peer"] == "python3-dkim" else opendkim.sign
            answer["message"] = base64.b64encode(sign(message, job)).decode()
    except Exception as e:
        answer["error"] = "%s: %s" % (type(e).__name__, e)
    print(json.dumps(answer), flush=True)
