"""leaves.py KIT CACHE: what every parser of the kit gets out of messages, in what their senders meant.

stdin: one path per line. stdout: one JSON object, {path: {parser: [leaf, ...]}} with the leaves that count:
{"name", "md5" (base64 without padding), "eicar" (it is the EICAR test file, or holds one)}; a leaf without a
name and without EICAR is left out. What a parser said of a message is kept in CACHE, by the message's sha256.
"""
import base64, hashlib, json, os, sys
from concurrent.futures import ThreadPoolExecutor

KIT, CACHE = sys.argv[1:3]
sys.path.insert(0, os.path.join(KIT, "lib"))
from mimekit.analyse import children
from mimekit.oracle import PARSERS, run_batch

# The test file by its parts, so that no scanner takes this one for it.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
SLOW = ["clamav", "php-horde", "reformime", "mhonarc", "dovecot-imap", "perl-mailbox", "gnus", "node-postal-mime"]


def eicar(data, name, depth=0):
    if data.lstrip(b"\r\n\t ").startswith(EICAR):
        return True
    return depth < 4 and any(eicar(b, n, depth + 1) for _, n, b, _ in children(data, name))


def leaves(raw):
    found = []
    for p in raw["parts"]:
        data, name = base64.b64decode(p.get("b64") or ""), p.get("filename") or ""
        leaf = {"name": name, "md5": base64.b64encode(hashlib.md5(data).digest()).decode().rstrip("="), "eicar": eicar(data, name)}
        if name or leaf["eicar"]:
            found.append(leaf)
    return found


def run(parser):
    path = os.path.join(CACHE, parser + ".json")
    known = json.load(open(path)) if os.path.exists(path) else {}
    new = {}
    for f in files:
        if sums[f] not in known:
            new.setdefault(sums[f], f)
    if new:
        raw = run_batch(parser, list(new.values()))
        for s, f in new.items():
            known[s] = leaves(raw[f])
        with open(path + ".new", "w") as out:
            json.dump(known, out)
        os.replace(path + ".new", path)
    return parser, {f: known[sums[f]] for f in files}


os.makedirs(CACHE, exist_ok=True)
files = [line.rstrip("\n") for line in sys.stdin]
sums = {f: hashlib.sha256(open(f, "rb").read()).hexdigest() for f in files}
result = {f: {} for f in files}
with ThreadPoolExecutor(2) as pool:
    for parser, r in pool.map(run, SLOW + [p for p in PARSERS if p not in SLOW]):
        for f in files:
            result[f][parser] = r[f]
json.dump(result, sys.stdout)
