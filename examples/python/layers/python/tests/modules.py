"""Uses each module of the standard library that needs a library of the system, or that is often missing."""

import bz2
import ctypes
import curses
import dbm.gnu
import decimal
import hashlib
import lzma
import multiprocessing
import readline
import sqlite3
import ssl
import sys
import tempfile
import uuid
import xml.parsers.expat
import zlib
import zoneinfo

data = b"one and the same " * 1000
for module in (bz2, lzma, zlib):
    assert module.decompress(module.compress(data)) == data, module
if sys.version_info >= (3, 14):
    from compression import zstd

    assert zstd.decompress(zstd.compress(data)) == data
assert ctypes.CDLL(None).abs(-3) == 3
connection = sqlite3.connect(":memory:")
connection.enable_load_extension(True)
assert connection.execute("SELECT sum(value) FROM json_each('[1, 2]')").fetchone() == (3,)
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 100
assert hashlib.scrypt(b"a", salt=b"b", n=2, r=1, p=1)
with tempfile.TemporaryDirectory() as folder, dbm.gnu.open(f"{folder}/file", "c") as file:
    file[b"key"] = b"value"
curses.setupterm("dumb", fd=1)
assert "libedit" not in (readline.__doc__ or "")
assert decimal.Decimal(1) / 4 == decimal.Decimal("0.25")
assert "_decimal" in sys.modules
assert multiprocessing.Semaphore(1).acquire()
assert uuid.uuid1().version == 1
assert xml.parsers.expat.ParserCreate().Parse("<a/>", True) == 1
assert zoneinfo.ZoneInfo("Europe/Berlin").key
assert sys.prefix == "/usr/local"
print("all modules work")
