# The demo's sender where there is no C compiler: python3 mq-send.py QUEUE TEXT

import ctypes
import os
import sys

name, text = (argument.encode() for argument in sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
if not hasattr(libc, "mq_open"):
    libc = ctypes.CDLL("librt.so.1", use_errno=True)
queue = libc.mq_open(name, os.O_WRONLY)
if queue < 0 or libc.mq_send(queue, text, ctypes.c_size_t(len(text)), 5) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
